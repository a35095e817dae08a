import type { ChatFrame, CompressionPhase, LoadedModel, ReplayPass, Signal } from "@kvcache/core";
import type { ObservingTools } from "./observe-pass.ts";
import type { Sequence } from "./sequence.ts";
import type { StepAssembler } from "./step-assembler.ts";

export interface ReplayTools extends ObservingTools {
  readonly model: LoadedModel;
  readonly assembler: StepAssembler;
  readonly tokenize: (text: string) => Int32Array;
  readonly chat: () => ChatFrame | undefined;
  readonly maxBatchTokens: number;
}

/**
 * Runs the extra forward passes of a `replay` signal: feeds each pass behind the cached tokens, in
 * parts that are shown to the sequence's observer, and takes its entries out again. The cache is
 * then as it was. Runs once for the same tokens, however often their compression is tried. Throws
 * `out-of-blocks` without room for the longest pass, before the observer sees anything.
 */
export async function runReplay(
  sequence: Sequence,
  replay: Extract<Signal, { kind: "replay" }>,
  phase: CompressionPhase,
  tools: ReplayTools,
): Promise<void> {
  const { cache, tokenize, chat } = tools;
  const slot = sequence.slot!;
  if (sequence.replayedAt === sequence.cached) return;
  const tokenIds = sequence.tokens.ids.slice(0, sequence.cached);
  // The passes record no queries, so those that the ring holds stay.
  const windowLength = cache.windowLength(slot);
  const passes = replay.passes({ tokenIds, tokenize, chat: chat() });
  const longest = Math.max(0, ...passes.map((pass) => pass.tokenIds.length));
  cache.reserve(slot, longest);
  try {
    for (const [index, pass] of passes.entries()) {
      await runPass(sequence, pass, index, phase, tools);
      cache.truncate(slot, sequence.position, windowLength);
    }
    sequence.replayedAt = sequence.cached;
  } finally {
    cache.truncate(slot, sequence.position, windowLength);
    cache.reserve(slot, 0);
  }
}

async function runPass(
  { slot, position: cached, observer, plan }: Sequence,
  pass: ReplayPass,
  index: number,
  phase: CompressionPhase,
  { cache, session, model, assembler, taps, view, maxBatchTokens }: ReplayTools,
): Promise<void> {
  const { tokenIds: ids } = pass;
  const ropeLengths = new Int32Array(ids.length).fill(cached + ids.length);
  for (let from = 0; from < ids.length; from += maxBatchTokens) {
    const count = Math.min(maxBatchTokens, ids.length - from);
    cache.append(slot!, count);
    const position = cached + from;
    const feed = { slot: slot!, ids, ropeLengths, from, count, position };
    const silent = { signalFlags: 0, attentionBuffer: 0, logits: "none" } as const;
    const values = new Map<string, Float32Array>();
    const wanted = plan.chunkSignals.size > 0 ? values : undefined;
    await model.forward(assembler.assemble([{ ...feed, ...silent }]), wanted);

    const { protect } = plan.policy!;
    const options = { protect, phase, observers: [observer], model: view };
    const batch = cache.batch([slot!], options);
    const tokenIds = ids.subarray(from, from + count);
    const tokens = { begin: 0, numTokens: count, start: position, tokenIds };
    const seen = taps.observation(values, tokens, plan.chunkSignals);
    const encoder = session.encoder();
    observer?.replay?.(encoder, { ...pass, index, cached }, seen, batch);
    await encoder.submit();
  }
}
