// node scripts/from-source.mjs <file.ts> [arguments]: runs a program from its sources, as tests do.
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";
import { vitePagePlugin } from "./inline-page.mjs";

const [file, ...rest] = process.argv.slice(2);
const conditions = ["@kvcache/source"];
const server = await createServer({
  configFile: false,
  root: fileURLToPath(new URL("..", import.meta.url)),
  appType: "custom",
  logLevel: "error",
  server: { middlewareMode: true, hmr: false, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true },
  plugins: [vitePagePlugin],
  resolve: { conditions },
  ssr: { resolve: { conditions } },
});
process.argv = [process.argv[0], resolve(file), ...rest];
await server.ssrLoadModule(resolve(file));
