import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defaultClientConditions, defineConfig, type Plugin } from "vite";

const tiny = new URL("../../packages/model-tiny/", import.meta.url);
const page = fileURLToPath(new URL("./page/", import.meta.url));

/** What a page needs of a model folder. */
const isModelFile = (file: string) =>
  /\.(json|safetensors)$/.test(file) && file !== "data-sources.json";

/**
 * `virtual:shipped`: the demo's text and questions, and where the shipped model's files stand. Their
 * folder is named by what they hold, so that a browser which stored an older model asks for the new.
 */
function shippedModel(): Plugin {
  const folder = new URL("model/", tiny);
  const files = readdirSync(folder).filter(isModelFile).sort();
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update(readFileSync(new URL(file, folder)));
  const base = `model/${hash.digest("hex").slice(0, 12)}/`;
  return {
    name: "shipped-model",
    resolveId: (id) => (id === "virtual:shipped" ? "\0virtual:shipped" : undefined),
    load(id) {
      if (id !== "\0virtual:shipped") return undefined;
      const document = readFileSync(new URL("demo/document.txt", tiny), "utf8");
      const questions = readFileSync(new URL("demo/questions.json", tiny), "utf8");
      return [
        `export const modelPath = ${JSON.stringify(base)};`,
        `export const demoText = ${JSON.stringify(document)};`,
        `export const demoQuestions = ${questions};`,
      ].join("\n");
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const path = new URL(request.url ?? "/", "http://page").pathname;
        const file = path.startsWith(`/${base}`) ? path.slice(base.length + 1) : undefined;
        if (file && files.includes(file)) response.end(readFileSync(new URL(file, folder)));
        else next();
      });
    },
    generateBundle() {
      for (const file of files)
        this.emitFile({
          type: "asset",
          fileName: base + file,
          source: readFileSync(new URL(file, folder)),
        });
    },
  };
}

/** Tells the service worker which files make the page; models are stored by the page itself. */
function offlineFiles(): Plugin {
  return {
    name: "offline-files",
    enforce: "post",
    generateBundle(_, bundle) {
      const worker = bundle["service-worker.js"];
      if (worker?.type !== "chunk") return;
      const files = Object.keys(bundle)
        .filter((file) => !file.startsWith("model/") && file !== "service-worker.js")
        .concat("index.html");
      const list = [...new Set(["./", ...files])].sort();
      const version = createHash("sha256").update(JSON.stringify(list)).digest("hex").slice(0, 12);
      worker.code = worker.code
        .replace(/["'`]__FILES__["'`]/, () => JSON.stringify(list))
        .replace("__VERSION__", version);
    },
  };
}

export default defineConfig({
  root: page,
  // Relative: the page works from any folder of a static host.
  base: "./",
  plugins: [shippedModel(), offlineFiles()],
  resolve: { conditions: ["@kvcache/source", ...defaultClientConditions] },
  worker: { format: "es" },
  build: {
    outDir: fileURLToPath(new URL("./dist/", import.meta.url)),
    emptyOutDir: true,
    target: "es2023",
    rollupOptions: {
      input: { index: `${page}index.html`, "service-worker": `${page}service-worker.ts` },
      output: {
        entryFileNames: ({ name }) =>
          name === "service-worker" ? "service-worker.js" : "assets/[name]-[hash].js",
      },
    },
  },
});
