// Bundles the JavaScript of every package that tsup builds into its dist, in one process and a few
// seconds: what demo, start, bench and conformance run. `pnpm build` makes what is published,
// declarations included; the options here are those of tsup.config.ts.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { pagePlugin } from "./inline-page.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const parents = ["packages", "packages/budgets", "packages/policies", "apps"];

function folders() {
  const children = parents.flatMap((parent) =>
    readdirSync(join(root, parent)).map((name) => join(root, parent, name)),
  );
  return [join(root, "kernels"), ...children].filter((folder) => {
    const manifest = join(folder, "package.json");
    return existsSync(manifest) && /"build": "tsup /.test(readFileSync(manifest, "utf8"));
  });
}

function bundle(folder) {
  const app = existsSync(join(folder, "src/main.ts"));
  const worker = existsSync(join(folder, "src/worker.ts")) ? ["src/worker.ts"] : [];
  return build({
    absWorkingDir: folder,
    entryPoints: [app ? "src/main.ts" : "src/index.ts", ...worker],
    outdir: "dist",
    bundle: true,
    splitting: true,
    packages: "external",
    external: ["node:*"],
    format: "esm",
    target: "es2023",
    platform: app ? "node" : "neutral",
    sourcemap: true,
    loader: { ".wgsl": "text" },
    plugins: [pagePlugin],
    logLevel: "error",
  });
}

/** Throws, after esbuild has printed why, when a package cannot be bundled. */
export const bundlePackages = () => Promise.all(folders().map(bundle));
