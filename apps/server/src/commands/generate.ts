import type { Command } from "commander";
import pc from "picocolors";
import { assemble } from "../assemble.ts";
import {
  addPlanOptions,
  addRunOptions,
  addSamplingOptions,
  assembleOptions,
  planOf,
  type RunOptions,
  type SamplingOptions,
  samplingOf,
} from "../cli-options.ts";
import { fromCommandLine, guarded } from "../fail.ts";
import { progress } from "../progress.ts";
import { type PromptOptions, promptSource } from "../prompt-source.ts";
import { resultJson, resultLine } from "../result-line.ts";

type Options = RunOptions &
  PromptOptions &
  SamplingOptions & { policy: string; budget?: string; ignoreEos?: boolean };

async function generate(text: string | undefined, options: Options): Promise<void> {
  const { plan, sampling, source } = fromCommandLine(() => ({
    plan: planOf(options),
    sampling: samplingOf(options),
    source: promptSource(text, options),
  }));
  const bar = progress(options.json);
  const run = await assemble(
    assembleOptions(options, [plan], { maxSequences: 4, onProgress: bar.say }),
  );
  const prompt = source(run.model);
  // The first interrupt ends the answer and prints what there is, the second one the program.
  const abort = new AbortController();
  process.on("SIGINT", () => (abort.signal.aborted ? process.exit(130) : abort.abort()));
  bar.say(`prefill on ${run.backend.description}`);
  const stream = run.engine.generate({
    prompt,
    plan,
    sampling,
    stop: { strings: options.stop ?? [], ignoreEos: options.ignoreEos ?? false },
    signal: abort.signal,
    ...(options.maxTokens === undefined ? {} : { maxTokens: options.maxTokens }),
  });
  for await (const event of stream) {
    bar.done();
    if (!options.json) process.stdout.write(event.text);
  }
  const result = await stream.result;
  if (options.json) process.stdout.write(`${JSON.stringify(resultJson(result))}\n`);
  else process.stderr.write(`\n${pc.dim(resultLine(result))}\n`);
  await run.close();
}

export function registerGenerate(program: Command): void {
  const command = program
    .command("generate")
    .description("answer one prompt")
    .argument("[text]", "the prompt; the model's chat template is applied unless --raw")
    .option("--file <path>", 'read the prompt from a file ("-": standard input)')
    .option("--messages <json>", "chat messages: JSON, a file, or -")
    .option("--tokens <ids>", "token ids, separated by commas")
    .option("--raw", "feed the text as it is, without the chat template")
    .option("--ignore-eos", "do not stop at the model's end-of-sequence token");
  addSamplingOptions(addPlanOptions(addRunOptions(command))).action(guarded(generate));
}
