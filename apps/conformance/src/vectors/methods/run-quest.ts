import type { Backend } from "@kvcache/core";
import { questBlocks, scoreBlocks } from "@kvcache/selectors";
import type { VectorCase, Verdict } from "../case.ts";
import { compareFloats, compareIntegers, compareKeep, first } from "../compare.ts";
import { filledCache } from "../vector-cache.ts";

/** Quest reads pages and evicts nothing: its bounds, and the pages and tokens of one decode step. */
export async function runQuest(vector: VectorCase, backend: Backend): Promise<Verdict> {
  const { tokens, pageSize = 16, minPages = 3, alwaysCurrentPage = true } = vector.params;
  const blockSize = pageSize as number;
  const { cache, sequence } = filledCache(vector, 1, blockSize);
  const session = backend.attach(cache);
  try {
    const encoder = session.encoder();
    const protect = { sinks: 0, recent: 0 };
    const batch = {
      ...cache.batch([sequence], { protect, phase: "decode" }),
      windowLengths: [1],
    };
    const selector = questBlocks({
      tokens: tokens as number,
      minBlocks: minPages as number,
      alwaysCurrent: alwaysCurrentPage as boolean,
      denseLayers: 0,
    });
    const { low, high, scores } = scoreBlocks(encoder, batch);
    const bounds = {
      pageMin: await encoder.read(low),
      pageMax: await encoder.read(high),
      pageScores: await encoder.read(scores),
    };
    const keep = selector.selectBlocks(encoder, batch);
    const pageIndptr = await encoder.read(keep.indptr);
    const pageIndices = (await encoder.read(keep.indices)).slice(0, pageIndptr.at(-1));
    const rows = Array.from({ length: batch.numRows }, (_, row) =>
      [...pageIndices.slice(pageIndptr[row], pageIndptr[row + 1])].flatMap((page) =>
        Array.from(
          { length: Math.min(blockSize, vector.shape.tokens - page * blockSize) },
          (_, i) => page * blockSize + i,
        ),
      ),
    );
    let read = 0;
    const indptr = [0, ...rows.map((own) => (read += own.length))];
    return first(
      ...Object.entries(bounds).map(([name, ours]) => compareFloats(vector, name, ours)),
      compareIntegers(vector, "pageIndptr", pageIndptr),
      compareIntegers(vector, "pageIndices", pageIndices),
      compareKeep(vector, indptr, rows.flat(), {
        scores: undefined,
        tokens: vector.shape.tokens,
      }),
    );
  } finally {
    await session.dispose();
    cache.dispose();
  }
}
