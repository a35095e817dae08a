/** A page as one string: its styles and scripts are inside it. */
declare module "*.html?page" {
  const html: string;
  export default html;
}
