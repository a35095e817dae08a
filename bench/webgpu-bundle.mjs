// node bench/webgpu-bundle.mjs [--node]: packs the WebGPU bench with all it needs into
// build/webgpu-bench/, to be run on a machine without this repository's dependencies. With --node the
// running Node comes along, compressed.
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, "build/webgpu-bench");
const loader = "/usr/lib/x86_64-linux-gnu/libvulkan.so.1";

const readme = `Run it with Node 20 or newer on Linux with a Vulkan driver:

    node bench-webgpu.js --json webgpu.json        # add --quick for drivers in software

Without Node: xz -dk node.xz && chmod +x node && ./node bench-webgpu.js --json webgpu.json
Without a Vulkan loader: LD_LIBRARY_PATH=lib node bench-webgpu.js --json webgpu.json
`;

/** Returns the path of the bundled bench. */
export async function bundleWebGpuBench({ withNode = false } = {}) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, "bench-webgpu.js");
  await build({
    absWorkingDir: root,
    entryPoints: ["bench/webgpu-main.mjs"],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "es2023",
    conditions: ["@kvcache/source"],
    logLevel: "error",
  });
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
  writeFileSync(join(folder, "README.md"), readme);
  const dawn = realpathSync(join(root, "packages/backend-webgpu/node_modules/webgpu"));
  const copy = join(folder, "node_modules/webgpu");
  const platform = `dist/${process.platform === "darwin" ? "darwin-universal" : `${process.platform}-${process.arch}`}`;
  mkdirSync(join(copy, "dist"), { recursive: true });
  for (const part of ["index.js", "package.json", "LICENSE.md", platform])
    cpSync(join(dawn, part), join(copy, part), { recursive: true });
  if (existsSync(loader)) {
    mkdirSync(join(folder, "lib"));
    copyFileSync(realpathSync(loader), join(folder, "lib/libvulkan.so.1"));
  }
  if (withNode) {
    copyFileSync(process.execPath, join(folder, "node"));
    execFileSync("xz", ["-9", "-T1", join(folder, "node")]);
  }
  return outfile;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  console.log(await bundleWebGpuBench({ withNode: process.argv.includes("--node") }));
