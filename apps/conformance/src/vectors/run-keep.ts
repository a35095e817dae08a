import { createReferenceBackend } from "@kvcache/backend-reference";
import { type Backend, signalsOf } from "@kvcache/core";
import { recordCompression } from "@kvcache/engine";
import { skipped, type VectorCase, type Verdict } from "./case.ts";
import { compareFloats, compareIntegers, compareKeep, first } from "./compare.ts";
import { methodOf } from "./method-options.ts";
import { filledCache } from "./vector-cache.ts";

/** One compression event right after the case's prefill: scores, counts and kept slots. */
export async function runKeep(
  vector: VectorCase,
  backend: Backend = createReferenceBackend(),
): Promise<Verdict> {
  const method = methodOf(vector);
  if ("skip" in method) return skipped(method.skip);
  const { policy, target } = method;
  const window = signalsOf(policy).reduce(
    (most, signal) => (signal.kind === "windowQueries" ? Math.max(most, signal.window) : most),
    0,
  );
  const blockSize = vector.params.blockSize as number | undefined;
  const { cache, sequence, numQueries } = filledCache(vector, window, blockSize);
  const session = backend.attach(cache);
  try {
    const encoder = session.encoder();
    const batch = {
      ...cache.batch([sequence], { protect: policy.protect, phase: "prefill" }),
      windowLengths: [numQueries],
    };
    const { scores, counts, keep } = recordCompression(encoder, batch, policy, target);
    const indptr = await encoder.read(keep.indptr);
    const indices = await encoder.read(keep.indices);
    const expects = (name: string) => vector.expect.includes(name);
    return first(
      expects("scores") ? compareFloats(vector, "scores", await encoder.read(scores)) : first(),
      expects("counts") ? compareIntegers(vector, "counts", await encoder.read(counts)) : first(),
      compareKeep(vector, indptr, indices, {
        // Methods that evict whole blocks, and cases without scores, leave no free swaps.
        scores:
          expects("scores") && vector.method !== "kv-compress"
            ? vector.tensors.get("scores")!.data
            : undefined,
        tokens: vector.shape.tokens,
        freeBelow: vector.method === "streaming-llm" ? ((vector.params.sinks as number) ?? 0) : 0,
      }),
    );
  } finally {
    await session.dispose();
    cache.dispose();
  }
}
