import { createInterface } from "node:readline/promises";
import { KvCacheError } from "@kvcache/core";
import type { ChatMessage } from "@kvcache/decoder";
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
import { resultJson, resultLine } from "../result-line.ts";

type Options = RunOptions & SamplingOptions & { policy: string; budget?: string; system?: string };

async function chat(options: Options): Promise<void> {
  const { plan, sampling } = fromCommandLine(() => ({
    plan: planOf(options),
    sampling: samplingOf(options),
  }));
  const bar = progress(options.json);
  const run = await assemble(
    assembleOptions(options, [plan], { maxSequences: 4, onProgress: bar.say }),
  );
  bar.done(`${run.model.name} on ${run.backend.description}`);
  const session = run.engine.openSession();
  const messages: ChatMessage[] = options.system
    ? [{ role: "system", content: options.system }]
    : [];
  const terminal = createInterface({
    input: process.stdin,
    output: process.stderr,
    prompt: pc.bold("> "),
  });
  let open = true;
  terminal.on("close", () => {
    open = false;
  });
  let answering: AbortController | undefined;
  terminal.on("SIGINT", () => (answering ? answering.abort() : terminal.close()));

  /** One turn: streams the answer and returns its text. */
  async function answer(signal: AbortSignal): Promise<string> {
    const stream = run.engine.generate({
      prompt: { messages },
      plan,
      sampling,
      session,
      signal,
      stop: { strings: options.stop ?? [] },
      ...(options.maxTokens === undefined ? {} : { maxTokens: options.maxTokens }),
    });
    for await (const event of stream) if (!options.json) process.stdout.write(event.text);
    const result = await stream.result;
    if (options.json) process.stdout.write(`${JSON.stringify(resultJson(result))}\n`);
    else {
      process.stdout.write("\n");
      process.stderr.write(`${pc.dim(resultLine(result))}\n`);
    }
    return result.text;
  }

  terminal.prompt();
  for await (const line of terminal) {
    if (line.trim()) {
      messages.push({ role: "user", content: line });
      answering = new AbortController();
      try {
        messages.push({ role: "assistant", content: await answer(answering.signal) });
      } catch (error) {
        if (!(error instanceof KvCacheError)) throw error;
        // The turn is taken back, the conversation goes on.
        messages.pop();
        process.stderr.write(`${pc.red("error")} ${error.message}\n`);
        process.exitCode = 1;
      }
      answering = undefined;
    }
    if (open) terminal.prompt();
  }
  session.close();
  await run.close();
}

export function registerChat(program: Command): void {
  const command = program
    .command("chat")
    .description("talk to a model; the session keeps its cache over turns")
    .option("--system <text>", "system message");
  addSamplingOptions(addPlanOptions(addRunOptions(command))).action(guarded(chat));
}
