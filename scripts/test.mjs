// pnpm test [package, op or path …] [option …]: builds the native library where a compiler is found,
// then runs vitest. The name of a package or op stands for its folder; anything else is part of a path.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const homes = ["packages", "packages/policies", "packages/budgets", "apps", "kernels/ops"].filter(
  (home) => existsSync(`${root}/${home}`),
);

/** @param {string} argument */
function foldersOf(argument) {
  const found = homes.filter((home) => readdirSync(`${root}/${home}`).includes(argument));
  return found.length > 0 ? found.map((home) => `${home}/${argument}/`) : [argument];
}

/** @param {string} command @param {string[]} args */
function run(command, args) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

run(process.execPath, ["scripts/native.mjs"]);
run("vitest", ["run", ...process.argv.slice(2).flatMap(foldersOf)]);
