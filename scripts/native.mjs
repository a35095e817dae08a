// Builds kernels/build/kvcache_native.node when g++ and cmake are there and its sources changed.
// Without a compiler it says so and succeeds: everything also runs without the native library.
//   --force    build even if nothing changed, and fail if that is impossible
//   --require  fail when there is no library afterwards
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const build = join(root, "kernels/build");
const library = join(build, "kvcache_native.node");
const stamp = join(build, "sources.sha256");
const force = process.argv.includes("--force");
const required = force || process.argv.includes("--require");

/** @param {string} message @param {boolean} built */
function finish(message, built) {
  console.log(`native: ${message}`);
  process.exit(required && !built ? 1 : 0);
}

/** @param {string} folder @returns {string[]} */
function sourcesIn(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      const skip = ["build", "dist", "node_modules", ".turbo"].includes(entry.name);
      return skip ? [] : sourcesIn(path);
    }
    return /\.(cpp|h|cu|cuh|txt)$/.test(entry.name) ? [path] : [];
  });
}

function sourceHash() {
  const hash = createHash("sha256");
  const folders = ["kernels", "packages/backend-ort/native"].map((folder) => join(root, folder));
  for (const path of folders
    .filter((folder) => existsSync(folder))
    .flatMap(sourcesIn)
    .sort())
    hash
      .update(`${relative(root, path)}\0`)
      .update(readFileSync(path))
      .update("\0");
  return hash.digest("hex");
}

/** @param {string} program */
const has = (program) => spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0;

if (process.env.KVCACHE_NATIVE === "off") finish("off (KVCACHE_NATIVE=off)", true);
const hash = sourceHash();
if (!force && existsSync(library) && existsSync(stamp) && readFileSync(stamp, "utf8") === hash)
  finish("up to date", true);
const missing = ["cmake", "g++"].filter((program) => !has(program));
if (missing.length > 0) {
  const old = existsSync(library);
  const rest = old ? "keeping a library of older sources" : "running on stock onnxruntime";
  finish(`not built, no ${missing.join(" and no ")}: ${rest}`, old && !force);
}

console.log("native: building, about a minute (KVCACHE_NATIVE=off does without)");
const start = performance.now();
mkdirSync(build, { recursive: true });
let log = "";
for (const args of [
  ["-S", join(root, "kernels"), "-B", build, "-G", "Unix Makefiles"],
  ["--build", build, "-j", "2"],
]) {
  const { status, stdout, stderr, error } = spawnSync("cmake", args, {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  log += `$ cmake ${args.join(" ")}\n${stdout ?? ""}${stderr ?? ""}${error ?? ""}\n`;
  if (status === 0) continue;
  // A library of other sources would be worse than none.
  rmSync(library, { force: true });
  const file = join(build, "native.log");
  writeFileSync(file, log);
  finish(`build failed, see ${relative(process.cwd(), file)}: running on stock onnxruntime`, false);
}
if (!existsSync(library)) finish("cmake made no kvcache_native.node", false);
writeFileSync(stamp, hash);
finish(`built in ${((performance.now() - start) / 1000).toFixed(1)} s`, true);
