import { sequenceTokenBytes } from "@kvcache/core";
import type { Command } from "commander";
import { tokenCount } from "../arguments.ts";
import { assemble } from "../assemble.ts";
import { addRunOptions, assembleOptions, type RunOptions } from "../cli-options.ts";
import { fromCommandLine, guarded } from "../fail.ts";
import { parsePlan } from "../plan-spec.ts";
import { progress } from "../progress.ts";
import { formatBytes, formatTarget } from "../quantities.ts";

interface Options extends RunOptions {
  readonly budget?: string;
  readonly length: string;
}

async function explain(text: string, options: Options): Promise<void> {
  const { plan, length } = fromCommandLine(() => ({
    plan: parsePlan(text, options.budget),
    length: tokenCount("--length", options.length),
  }));
  const bar = progress(options.json);
  const run = await assemble(
    assembleOptions(options, [plan], { maxSequences: 1, onProgress: bar.say }),
  );
  bar.done();
  const explanation = run.engine.explain(plan, length);
  const bytesPerToken = sequenceTokenBytes(run.cache.layout);
  const { text: sentences, fallbacks, ...facts } = explanation;
  if (options.json) {
    const all = { ...facts, bytesPerToken, fallbacks: Object.fromEntries(fallbacks) };
    process.stdout.write(`${JSON.stringify({ ...all, runsOn: run.backend.description })}\n`);
  } else {
    const blocks = run.cache.layout.arenas[0]!.blockSize;
    process.stdout.write(
      `${plan.eviction ? `${plan.eviction.policy.name}, ${formatTarget(plan.eviction.target)}` : "full"}\n\n${sentences}\n\n` +
        `${formatBytes(bytesPerToken)} a token; ${length} tokens: ${formatBytes(facts.bytesBefore)}, ` +
        `then ${formatBytes(facts.bytesAfter)} and at most one block of ${blocks} tokens a row more.\n`,
    );
  }
  await run.close();
}

export function registerExplain(program: Command): void {
  const command = program
    .command("explain")
    .description("say what a plan keeps, when, what it costs and where it runs")
    .argument("<plan>", "<policy>[:option=value,…][@budget]")
    .option("--budget <budget>", "kept fraction (0.25), tokens (512) or size (64MiB)")
    .option("--length <tokens>", "tokens of the prompt", "8192");
  addRunOptions(command).action(guarded(explain));
}
