// node scripts/run.mjs <script> [argument …]: builds the native library where a compiler is found,
// bundles the packages, then runs a script of the repository with the arguments.
// Standard output belongs to the script: the build is silent unless it fails.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { bundlePackages } from "./bundle.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const [script, ...args] = process.argv.slice(2);

function run(command, commandArgs, options) {
  const { status, error, stdout, stderr } = spawnSync(command, commandArgs, {
    cwd: root,
    shell: process.platform === "win32",
    maxBuffer: 2 ** 26,
    ...options,
  });
  if (error) throw error;
  if (status === 0) return;
  process.stderr.write(stdout ?? "");
  process.stderr.write(stderr ?? "");
  process.exit(status ?? 1);
}

run(process.execPath, ["scripts/native.mjs"], { stdio: ["ignore", 2, "inherit"] });
await bundlePackages();
run(process.execPath, [script, ...args], { stdio: "inherit" });
