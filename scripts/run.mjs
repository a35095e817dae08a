// node scripts/run.mjs <script> [argument …]: builds the native library where a compiler is found,
// builds the packages (JavaScript only), then runs a script of the repository with the arguments.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const [script, ...args] = process.argv.slice(2);

function run(command, commandArgs, env = {}) {
  const { status, error } = spawnSync(command, commandArgs, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
    shell: process.platform === "win32",
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

run(process.execPath, ["scripts/native.mjs"]);
// Standard output belongs to the script; the build speaks only when it fails.
run("pnpm", ["exec", "turbo", "run", "build", "--output-logs=errors-only", "--log-order=grouped"], {
  KVCACHE_DTS: "off",
  TURBO_TELEMETRY_DISABLED: "1",
});
run(process.execPath, [script, ...args]);
