import { readdirSync, readFileSync } from "node:fs";

const folder = new URL(".", import.meta.url);

/** Names of the benches that are here. */
export const benches = readdirSync(folder)
  .filter((file) => file.endsWith(".bench.mjs"))
  .map((file) => file.replace(".bench.mjs", ""));

export const usage = `Usage: pnpm bench <name> [--json file] [--quick] [--help] [its own options]
Benches: ${benches.join(", ")}`;

/** What a bench says about itself and its options: the comment that its file begins with. */
export function helpOf(name) {
  const source = readFileSync(new URL(`${name}.bench.mjs`, folder), "utf8");
  const [comment] = /^(\/\/.*\n)+|^\/\*[\s\S]*?\*\//.exec(source) ?? [""];
  const lines = comment.split("\n").map((line) => line.replace(/^ *(\/\/|\/\*+|\*\/|\*) ?/, ""));
  return lines.join("\n").trim();
}
