/** The Hugging Face folder: config, three safetensors shards, tokenizer, card. Ends with a slash. */
export const modelUrl: URL = new URL("../model/", import.meta.url);

/** Evaluation samples, JSONL: {id, task, length, context, turns: [{question, answers}]}. */
export const tasksUrl: URL = new URL("../tasks/tasks.jsonl", import.meta.url);

/** WikiText-2 test split, one article a line (CC-BY-SA 3.0 / GFDL, Wikipedia contributors). */
export const wikitextUrl: URL = new URL("../tasks/wikitext2-test.jsonl", import.meta.url);

/** The demo's long text, with facts planted in it. */
export const demoDocumentUrl: URL = new URL("../demo/document.txt", import.meta.url);

/** Questions about the demo text: [{ question, answers }]. */
export const demoQuestionsUrl: URL = new URL("../demo/questions.json", import.meta.url);

/** Calibrations of methods and trained surrogates for this model, by method. Ends with a slash. */
export const profilesUrl: URL = new URL("../profiles/", import.meta.url);
