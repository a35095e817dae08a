import { createReferenceBackend } from "@kvcache/backend-reference";
import { type Backend, signalFlag } from "@kvcache/core";
import { addSums, pagedAttention, readSums } from "@kvcache/kernels";
import { floats, skipped, type VectorCase, type Verdict } from "./case.ts";
import { compareFloats } from "./compare.ts";
import { methodOf } from "./methods/index.ts";
import { sessionOver } from "./session-over.ts";
import { vectorRun } from "./vector-batch.ts";
import { cacheOf, shapeOf } from "./vector-cache.ts";

/** Scores of a policy before anything is protected. */
export async function runScores(
  vector: VectorCase,
  backend: Backend = createReferenceBackend(),
): Promise<Verdict> {
  const method = methodOf(vector);
  if ("skip" in method) return skipped(method.skip);
  if (vector.params.decodeSteps !== undefined) return runDecodeScores(vector);
  const { cache, sequence, batch: batchOf } = vectorRun(vector, method.policy);
  const over = await sessionOver(backend, cache, sequence);
  try {
    const encoder = over.session.encoder();
    const protect = { sinks: 0, recent: 0 };
    const batch = over.on(await batchOf({ protect, phase: "prefill" }));
    const scores = encoder.tensor("f32", batch.totalSlots);
    method.policy.scorer.score(encoder, batch, scores);
    return compareFloats(vector, "scores", await encoder.read(scores));
  } finally {
    await over.dispose();
    cache.dispose();
  }
}

/**
 * Attention sums of decode steps, from given weights [L, Hq, steps, n]. Keys are unit
 * vectors and queries logarithms of the weights, so that our attention comes out as those weights.
 */
async function runDecodeScores(vector: VectorCase): Promise<Verdict> {
  const steps = vector.params.decodeSteps as number;
  const all = vector.shape.tokens;
  const tokens = all - steps;
  const shape = { ...shapeOf(vector), headDim: all };
  const { numLayers, numQueryHeads, numKvHeads } = shape;
  const { cache, sequence } = cacheOf({ shape, tokens: all, windowSize: 0 });
  cache.truncate(sequence, 0);
  const power = vector.params.norm === "l1" ? 1 : 2;
  const attention = floats(vector, "attention", numLayers * numQueryHeads * steps * all);
  const step = (count: number, from: number, flags: number) => {
    cache.append(sequence, count);
    const width = numQueryHeads * all;
    for (let layer = 0; layer < numLayers; layer++) {
      const query = new Float32Array(count * width);
      for (let head = 0; head < numQueryHeads && from >= tokens; head++) {
        const row = ((layer * numQueryHeads + head) * steps + from - tokens) * all;
        for (let j = 0; j < all; j++)
          query[head * all + j] = Math.log(Math.max(attention[row + j]!, 1e-30));
      }
      const unit = new Float32Array(count * numKvHeads * all);
      for (let i = 0; i < count; i++)
        for (let head = 0; head < numKvHeads; head++)
          unit[(i * numKvHeads + head) * all + from + i] = 1;
      pagedAttention.reference({
        cache: cache.host,
        layer,
        scale: 1,
        query,
        key: unit,
        value: unit,
        out: new Float32Array(count * width),
        step: {
          cuTokens: Int32Array.of(0, count),
          positions: Int32Array.from({ length: count }, (_, i) => from + i),
          sequences: Int32Array.of(sequence),
          signalFlags: Int32Array.of(flags),
          attentionBuffers: Int32Array.of((vector.params.buffer as number) ?? 0),
        },
      });
    }
  };
  step(tokens, 0, 0);
  const session = createReferenceBackend().attach(cache);
  const encoder = session.encoder();
  const batch = () =>
    cache.batch([sequence], { protect: { sinks: 0, recent: 0 }, phase: "decode" });
  const initial = floats(vector, "initialMetrics", numLayers * numKvHeads * tokens);
  encoder.run(addSums, { batch: batch(), power, values: encoder.upload(initial) });
  for (let i = 0; i < steps; i++)
    step(1, tokens + i, power === 1 ? signalFlag.sumAttention : signalFlag.sumSquaredAttention);
  const scores = encoder.tensor("f32", batch().totalSlots);
  encoder.run(readSums, { batch: batch(), power, out: scores });
  const verdict = compareFloats(vector, "scores", await encoder.read(scores));
  await session.dispose();
  cache.dispose();
  return verdict;
}
