// pnpm bench <name> [--json file] [--quick]: runs bench/<name>.bench.mjs and ends stdout with one
// line of JSON; with --help it says what the bench does. Every bench measures ratios against a
// control in the same run, interleaved.
import { writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { benches, helpOf, usage } from "./help.mjs";

const [name, ...rest] = process.argv.slice(2);
const isHelp = (argument) => argument === "--help" || argument === "-h";
if (!benches.includes(name)) {
  console.error(usage);
  process.exit(name === undefined || isHelp(name) ? 0 : 2);
}
if (rest.some(isHelp)) {
  console.log(`${helpOf(name)}\n\n${usage}`);
  process.exit(0);
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
