import { writeFileSync } from "node:fs";
import { KvCacheError } from "@kvcache/core";
import type { Command } from "commander";
import { openModel } from "../assemble.ts";
import { fail, fromCommandLine } from "../fail.ts";
import { anyFile } from "../method-files.ts";
import { type Conversion, type ConvertTarget, conversions } from "./convert/conversions.ts";

interface Options {
  readonly model?: string;
  readonly out: string;
}

async function convert(
  method: string,
  { from, needsModel, convert: make }: Conversion,
  paths: readonly string[],
  { model: source, out }: Options,
): Promise<void> {
  const files = fromCommandLine(() => paths.map((path) => ({ path, bytes: anyFile(path) })));
  let target: ConvertTarget | undefined;
  if (source !== undefined) {
    const { name, fingerprint, graph } = await openModel(source);
    target = { name, fingerprint, shape: graph.shape };
  } else if (needsModel)
    throw new KvCacheError("invalid-argument", `${method} needs to know the model's heads.`, {
      remedy: "Say --model <folder or hub id>.",
    });
  try {
    writeFileSync(out, make(files, target));
  } catch (cause) {
    if (!(cause instanceof KvCacheError)) throw cause;
    throw new KvCacheError(
      cause.code,
      `${paths.join(", ")}: ${cause.message} Published: ${from}.`,
      {
        value: cause.value,
        cause,
      },
    );
  }
  process.stdout.write(`${out}\n`);
}

export function registerConvert(program: Command): void {
  const command = program
    .command("convert")
    .description("make files for plans from those that methods' authors publish");
  for (const [method, conversion] of Object.entries(conversions))
    command
      .command(method)
      .description(`from ${conversion.from}`)
      .argument("<files...>", conversion.files)
      .option(
        "--model <source>",
        "folder, hub id, or tiny: binds the file to the model and checks its shape",
      )
      .requiredOption("--out <file>", "what is written")
      .action(async (paths: readonly string[], options: Options) => {
        try {
          await convert(method, conversion, paths, options);
        } catch (error) {
          fail(error);
        }
      });
}
