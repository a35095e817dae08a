import { cacheLayout, numRows, sequenceTokenBytes, signalsOf, tokenBytes } from "@kvcache/core";
import type { Command } from "commander";
import { openBackend, openModel } from "../assemble.ts";
import { modelOption, type RunOptions } from "../cli-options.ts";
import { guarded } from "../fail.ts";
import { parsePlan } from "../plan-spec.ts";
import { formatBytes, formatTarget } from "../quantities.ts";

interface Options extends Pick<RunOptions, "model" | "blockSize" | "kvDtype" | "json"> {
  readonly budget?: string;
  readonly length: string;
}

/** What a plan promises for one sequence: counts from the budget's own rule, no model run. */
async function explain(text: string, options: Options): Promise<void> {
  const plan = parsePlan(text, options.budget);
  const { graph } = await openModel(options.model);
  const backend = await openBackend("auto");
  const layout = cacheLayout(graph.shape, {
    blockSize: Number(options.blockSize),
    dtype: options.kvDtype,
  });
  const rows = numRows(graph.shape);
  const length = Number(options.length);
  const full = length * sequenceTokenBytes(layout);
  const { eviction } = plan;
  const kept = eviction
    ? eviction.policy.budget.resolve({
        target: eviction.target,
        lengths: new Uint32Array(rows).fill(length),
        nextPosition: length,
        layout,
        protect: eviction.policy.protect,
      })
    : rows * length;
  const bytes = kept * tokenBytes(layout.arenas[0]!);
  const block = layout.arenas[0]!.blockSize * tokenBytes(layout.arenas[0]!);
  const policy = eviction?.policy;
  const facts = {
    plan: policy ? `${policy.name}, ${formatTarget(eviction!.target)}` : "full: nothing is evicted",
    paper: policy?.paper ?? "–",
    when: policy
      ? [
          policy.trigger.prefill && "at the end of the prefill",
          policy.trigger.interval && `every ${policy.trigger.interval} decoded tokens`,
          policy.trigger.pressure && "when the pool runs short",
        ]
          .filter(Boolean)
          .join(", ") || "never"
      : "never",
    signals: policy
      ? signalsOf(policy)
          .map((signal) => signal.kind)
          .join(", ") || "none"
      : "none",
    parts: policy ? `${policy.scorer.name} × ${policy.budget.name} × ${policy.selector.name}` : "–",
    protected: policy ? `${policy.protect.sinks} sinks, ${policy.protect.recent} recent` : "–",
    bytesPerToken: sequenceTokenBytes(layout),
    tokens: length,
    tokensKeptPerRow: kept / rows,
    bytesFull: full,
    bytesKept: bytes,
    bytesAtMost: bytes + rows * block,
    runsOn: backend.description,
  };
  await backend.dispose();
  if (options.json) {
    process.stdout.write(`${JSON.stringify(facts)}\n`);
    return;
  }
  for (const [key, value] of Object.entries(facts)) {
    const shown = key.startsWith("bytes")
      ? formatBytes(value as number)
      : typeof value === "number"
        ? String(+value.toFixed(1))
        : value;
    process.stdout.write(`${key.padEnd(18)} ${shown}\n`);
  }
}

export function registerExplain(program: Command): void {
  program
    .command("explain")
    .description("say what a plan keeps, what it costs and where it runs")
    .argument("<plan>", "<policy>[:option=value,…][@budget]")
    .addOption(modelOption())
    .option("--budget <budget>", "kept fraction (0.25), tokens (512) or size (64MiB)")
    .option("--length <tokens>", "tokens of the sequence", "8192")
    .option("--block-size <tokens>", "tokens per block", "16")
    .option("--kv-dtype <format>", "f32 or f16", "f32")
    .option("--json", "machine-readable output")
    .action(guarded(explain));
}
