import { hostArray, hostTensor, type Scorer } from "@kvcache/core";
import { createHostEncoder, keyNorm } from "@kvcache/kernels";
import { testSelector, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import {
  blockwise,
  byPhase,
  chunkShares,
  entropyGatedChunks,
  sharedTopK,
  topK,
  wholeChunks,
} from "./index.ts";

testSelector("wholeChunks", () => wholeChunks({ chunk: 5 }));
testSelector("wholeChunks, to the letter", () => wholeChunks({ chunk: 3, keepProtected: false }));
testSelector("entropyGatedChunks", () => entropyGatedChunks({ chunk: 6, lowEntropyTokens: 2 }));
testSelector("chunkShares", () => chunkShares({ chunk: 7 }));
testSelector("sharedTopK", () => sharedTopK());
testSelector("byPhase", () => byPhase(topK(), sharedTopK()), { ties: "lower-slot" });

const scorer: Scorer = {
  name: "norm",
  needs: [],
  score: (encoder, batch, out) => encoder.run(keyNorm, { batch, out }),
};

it("blockwise keeps each row's count, ascending, of rows that lost tokens before", async () => {
  const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
  const made = tokenCache({ shape, seed: 1, sequences: 2, maxTokens: 40, windowSize: 0 });
  made.feed(0, 31, { flags: 0 });
  made.feed(1, 22, { flags: 0 });
  await made.keep(0, (positions, row) =>
    Array.from(positions.keys()).filter((slot) => (slot + row) % 3 > 0),
  );
  const batch = made.batch("prefill");
  const counts = Uint32Array.of(9, 20, 22, 4);
  const scores = hostTensor(new Float32Array(batch.totalSlots));
  const encoder = createHostEncoder();
  const keep = blockwise({ scorer, block: 4 }).select(encoder, batch, scores, hostTensor(counts));
  const plain = encoder.tensor("f32", batch.totalSlots);
  scorer.score(encoder, batch, plain);
  const best = topK().select(encoder, batch, plain, hostTensor(counts));
  const slots = (kept: typeof keep) => {
    const indptr = hostArray(kept.indptr, "u32");
    return [...hostArray(kept.indices, "u32").subarray(0, indptr[4])];
  };
  expect(slots(keep)).toEqual(slots(best));
});
