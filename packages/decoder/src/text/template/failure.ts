/** What a template raises while it runs; becomes a KvCacheError where the template was applied. */
export class TemplateFailure extends Error {
  override readonly name = "TemplateFailure";
}
