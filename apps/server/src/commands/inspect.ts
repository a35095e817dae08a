import { cacheLayout, sequenceTokenBytes } from "@kvcache/core";
import type { Command } from "commander";
import { openModel } from "../assemble.ts";
import { guarded } from "../fail.ts";
import { progress } from "../progress.ts";
import { formatBytes } from "../quantities.ts";

async function inspect(source: string, options: { json?: boolean }): Promise<void> {
  const bar = progress(options.json);
  const model = await openModel(source, bar.say);
  bar.done();
  const { graph } = model;
  const tokenBytes = sequenceTokenBytes(
    cacheLayout(graph.shape, { slidingWindow: graph.slidingWindow }),
  );
  const facts = {
    name: model.name,
    architecture: model.config.architecture,
    ...graph.shape,
    hiddenSize: graph.hiddenSize,
    vocabSize: graph.vocabSize,
    maxPositions: graph.maxPositions,
    rope: graph.ropes.map(({ theta, scaling }) => `${scaling.type}, theta ${theta}`).join("; "),
    slidingWindowLayers: graph.slidingWindow.filter((window) => window !== undefined).length,
    tokenizer: model.tokenizer ? `${model.tokenizer.vocabSize} entries` : "none",
    chatTemplates: model.tokenizer?.chatTemplates ?? [],
    kvBytesPerTokenF32: tokenBytes,
    kvBytesFullContextF32: tokenBytes * graph.maxPositions,
    fingerprint: model.fingerprint,
  };
  if (options.json) {
    process.stdout.write(`${JSON.stringify(facts)}\n`);
    return;
  }
  for (const [key, value] of Object.entries(facts)) {
    const text = key.startsWith("kvBytes")
      ? formatBytes(value as number)
      : [value].flat().join(", ");
    process.stdout.write(`${key.padEnd(24)} ${text}\n`);
  }
}

export function registerInspect(program: Command): void {
  program
    .command("inspect")
    .description("read and check a model, print what it is and what its cache costs")
    .argument("[model]", 'folder, hub id, or "tiny"', "tiny")
    .option("--json", "machine-readable output")
    .action(guarded(inspect));
}
