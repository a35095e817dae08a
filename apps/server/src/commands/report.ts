import { writeFileSync } from "node:fs";
import { createReport, parseRecords } from "@kvcache/evals";
import type { Command } from "commander";
import { fromCommandLine, guarded } from "../fail.ts";
import { textOf } from "../prompt-source.ts";

interface Options {
  readonly out?: string;
  readonly title?: string;
  readonly layers: string;
}

async function report(path: string, options: Options): Promise<void> {
  const records = fromCommandLine(() => parseRecords(textOf(path), path));
  const base = options.out ?? path.replace(/\.jsonl?$/, ".html");
  const html = base.endsWith(".html") ? base : `${base}.html`;
  const csv = html.replace(/\.html$/, ".csv");
  const made = await createReport(records, {
    numLayers: Number(options.layers),
    subtitle: `${records.length} records of ${path}, ${new Date().toISOString().slice(0, 10)}`,
    ...(options.title === undefined ? {} : { title: options.title }),
  });
  writeFileSync(html, made.html);
  writeFileSync(csv, made.csv);
  process.stdout.write(`${html}\n${csv}\n`);
}

export function registerReport(program: Command): void {
  program
    .command("report")
    .description("make a page with plots, and a CSV file, from records of kvcache eval")
    .argument("<records>", "JSONL that kvcache eval wrote")
    .option("--out <file>", "the page; the CSV file stands beside it")
    .option("--title <text>", "heading of the page")
    .option("--layers <n>", "layers of the model, for the head maps", "8")
    .action(guarded(report));
}
