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

/** The slots of every row whose positions lie in a chunk, for each chunk of the batch. */
function slotsByChunk(positions: Int32Array, indptr: Uint32Array, chunk: number): number[][][] {
  const numRows = indptr.length - 1;
  const last = positions.reduce((most, position) => Math.max(most, position), -1);
  const chunks = Array.from({ length: Math.ceil((last + 1) / chunk) }, () =>
    Array.from({ length: numRows }, (): number[] => []),
  );
  for (let row = 0; row < numRows; row++)
    for (let at = indptr[row]!; at < indptr[row + 1]!; at++)
      chunks[Math.floor(positions[at]! / chunk)]![row]!.push(at - indptr[row]!);
  return chunks;
}

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
      for (const slots of slotsByChunk(positions, indptr, chunk)) {
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
