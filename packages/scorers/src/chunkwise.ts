import {
  type BudgetTarget,
  checkWholeNumber,
  defineKernel,
  hostArray,
  type KvBatch,
  type Scorer,
  type Tensor,
} from "@kvcache/core";
import { batchPositions, scorePart } from "@kvcache/kernels";

/**
 * Scores every `chunk` positions of a cache by themselves, as if nothing else were cached. It runs
 * where the cache lives in host memory. Throws `invalid-argument` unless chunk ≥ 1.
 */
export function chunkwise(scorer: Scorer, chunk: number): Scorer {
  checkWholeNumber("chunk", chunk, 1);
  const kernel = defineKernel<{
    readonly batch: KvBatch;
    readonly out: Tensor;
    readonly target: BudgetTarget | undefined;
  }>({
    name: `chunkwise:${scorer.name}`,
    reference({ batch, out, target }) {
      const indptr = hostArray(batch.rowIndptr, "u32");
      const scores = hostArray(out, "f32");
      const positions = batchPositions(batch);
      const last = positions.reduce((most, position) => Math.max(most, position), -1);
      for (let start = 0; start <= last; start += chunk) {
        const slots = Array.from({ length: batch.numRows }, (_, row) => {
          const own = positions.subarray(indptr[row]!, indptr[row + 1]!);
          return Array.from(own.keys()).filter(
            (slot) => own[slot]! >= start && own[slot]! < start + chunk,
          );
        });
        const part = scorePart(scorer, batch, slots, target);
        slots.forEach((own, row) => {
          own.forEach((slot, j) => {
            scores[indptr[row]! + slot] = part.scores[part.indptr[row]! + j]!;
          });
        });
      }
    },
  });
  return Object.freeze<Scorer>({
    ...scorer,
    name: "chunkwise",
    options: { chunk, scorer: [scorer.name, scorer.options ?? {}] },
    score: (encoder, batch, out, target) => encoder.run(kernel, { batch, out, target }),
  });
}
