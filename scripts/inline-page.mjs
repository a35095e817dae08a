// Pages that are one string: import html from "./index.html?page" puts the style sheets and the
// module scripts that a page links, bundled, into it. A plugin for esbuild (tsup) and one for Vite
// (vitest).
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { build } from "esbuild";

const suffix = /\.html\?page$/;

async function bundle(file) {
  const { outputFiles } = await build({
    entryPoints: [file],
    bundle: true,
    write: false,
    minify: true,
    format: "iife",
    target: "es2022",
    legalComments: "inline",
  });
  return outputFiles[0].text.trim();
}

async function replaced(text, pattern, replace) {
  const pieces = await Promise.all([...text.matchAll(pattern)].map(replace));
  return text.replace(pattern, () => pieces.shift());
}

/** The page as it is served, and the files it is made of. */
async function inlinePage(file) {
  const from = (name) => join(dirname(file), name);
  let html = await readFile(file, "utf8");
  html = await replaced(html, /<link rel="stylesheet" href="(.+?)" ?\/?>/g, async ([, href]) => {
    return `<style>${await bundle(from(href))}</style>`;
  });
  return replaced(html, /<script type="module" src="(.+?)"><\/script>/g, async ([, src]) => {
    const script = await bundle(from(src));
    return `<script type="module">${script.replaceAll("</script", "<\\/script")}</script>`;
  });
}

/** For tsup's `esbuildPlugins`. */
export const pagePlugin = {
  name: "inline-page",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: suffix }, ({ path, resolveDir }) => ({
      path: join(resolveDir, path.replace("?page", "")),
      namespace: "page",
    }));
    onLoad({ filter: /.*/, namespace: "page" }, async ({ path }) => ({
      contents: await inlinePage(path),
      loader: "text",
      watchFiles: [path],
    }));
  },
};

/** For Vite's `plugins`. */
export const vitePagePlugin = {
  name: "inline-page",
  enforce: "pre",
  async load(id) {
    if (!suffix.test(id)) return undefined;
    return `export default ${JSON.stringify(await inlinePage(id.replace("?page", "")))}`;
  },
};
