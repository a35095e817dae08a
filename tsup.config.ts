import { existsSync } from "node:fs";
import { defineConfig } from "tsup";
import { pagePlugin } from "./scripts/inline-page.mjs";

// Every package runs `tsup --config <root>/tsup.config.ts`; the working directory is the package.
const app = existsSync("src/main.ts");
const worker = existsSync("src/worker.ts") ? ["src/worker.ts"] : [];

export default defineConfig({
  entry: [app ? "src/main.ts" : "src/index.ts", ...worker],
  format: ["esm"],
  target: "es2023",
  platform: app ? "node" : "neutral",
  dts:
    app || process.env.KVCACHE_DTS === "off"
      ? false
      : { entry: "src/index.ts", compilerOptions: { ignoreDeprecations: "6.0" } },
  sourcemap: true,
  clean: true,
  treeshake: true,
  external: [/^node:/],
  loader: { ".wgsl": "text" },
  esbuildPlugins: [pagePlugin],
});
