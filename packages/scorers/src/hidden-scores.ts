import {
  type CacheLayout,
  defineKernel,
  type Encoder,
  hostArray,
  hostTensor,
  type KvBatch,
  KvCacheError,
  numRows,
  type Observer,
  type Tensor,
} from "@kvcache/core";
import { forEachRow, gatherPositions } from "@kvcache/kernels";
import { observed } from "./observed.ts";
import { type PositionTable, positionTable, readObserved } from "./position-table.ts";

/** Block inputs of one layer in one forward pass. */
export interface HiddenRows {
  readonly layer: number;
  /** f32 [count, hiddenSize]. */
  readonly hidden: Tensor;
  readonly count: number;
  readonly hiddenSize: number;
}

/** Records the work that scores tokens by their block inputs: one f32 [count] for each KV head. */
export type ScoreHidden = (encoder: Encoder, rows: HiddenRows, outs: readonly Tensor[]) => void;

interface HiddenScoreObserver extends Observer {
  readonly table: PositionTable;
}

const hasTable = (observer: Observer): observer is HiddenScoreObserver => "table" in observer;

/** Scores tokens when they are seen; scores stay with their positions. */
export function hiddenScoreObserver(layout: CacheLayout, scoreHidden: ScoreHidden): Observer {
  const { numLayers, numKvHeads } = layout.shape;
  const observerOf = (table: PositionTable): HiddenScoreObserver => ({
    table,
    observe(encoder, { start, tokenIds, hidden }) {
      const count = tokenIds.length;
      for (let layer = 0; layer < numLayers; layer++) {
        const rows = hidden(layer).slice();
        const outs = Array.from({ length: numKvHeads }, (_, head) =>
          hostTensor(table.range(layer * numKvHeads + head, start, start + count)),
        );
        const hiddenSize = rows.length / count;
        scoreHidden(encoder, { layer, hidden: hostTensor(rows), count, hiddenSize }, outs);
      }
    },
    truncate: table.forget,
    fork: () => observerOf(table.clone()),
  });
  return observerOf(positionTable(numRows(layout.shape)));
}

/** Records the reading of scores that {@link hiddenScoreObserver} gathered. */
export function readHiddenScores(
  encoder: Encoder,
  batch: KvBatch,
  out: Tensor,
  adjust: (score: number, position: number, next: number) => number = (score) => score,
): void {
  const tables = batch.sequences.map((_, i) => observed(batch, i, hasTable).table);
  encoder.run(readScores, { batch, tables, adjust, out });
}

interface ReadScoresParams {
  readonly batch: KvBatch;
  readonly tables: readonly PositionTable[];
  readonly adjust: (score: number, position: number, next: number) => number;
  readonly out: Tensor;
}

const readScores = defineKernel<ReadScoresParams>({
  name: "read-position-scores",
  reference({ batch, tables, adjust, out }) {
    const scores = hostArray(out, "f32");
    forEachRow(batch, ({ sequenceIndex, layer, head, begin, view }) => {
      const next = batch.nextPositions[sequenceIndex]!;
      gatherPositions(view).forEach((position, j) => {
        const score = readObserved(tables[sequenceIndex]!, batch, layer, head, position);
        scores[begin + j] = adjust(score, position, next);
      });
    });
  },
});

/** Throws `invalid-plan` where weights were trained for another hidden size. */
export function checkHiddenSize(what: string, found: number, wanted: number): void {
  if (found !== wanted)
    throw new KvCacheError(
      "invalid-plan",
      `The ${what} read ${found} hidden numbers, this model has ${wanted}.`,
      { value: found, remedy: "Load the file that belongs to this model." },
    );
}
