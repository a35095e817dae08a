// pnpm bench <name> [--json file] [--quick]: runs bench/<name>.bench.mjs and ends stdout with one
// line of JSON. Every bench measures ratios against a control in the same run, interleaved.
import { readdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";

const names = readdirSync(new URL(".", import.meta.url))
  .filter((file) => file.endsWith(".bench.mjs"))
  .map((file) => file.replace(".bench.mjs", ""));
const [name, ...rest] = process.argv.slice(2);
if (!names.includes(name)) {
  console.error(`Usage: pnpm bench <name> [--json file] [--quick]\nBenches: ${names.join(", ")}`);
  process.exit(name === undefined || name === "--help" ? 0 : 2);
}
const flag = (key) => (rest.includes(key) ? (rest[rest.indexOf(key) + 1] ?? true) : undefined);

const { default: run } = await import(`./${name}.bench.mjs`);
const { ratios, figures } = await run({
  quick: rest.includes("--quick"),
  options: rest,
  log: (line) => console.log(line),
});
const result = {
  bench: name,
  ratios,
  figures,
  machine: {
    cpu: cpus()[0]?.model.trim(),
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  },
  date: new Date().toISOString().slice(0, 10),
};
if (flag("--json")) writeFileSync(flag("--json"), `${JSON.stringify(result, null, 2)}\n`);
console.log(JSON.stringify(result));
process.exit(0);
