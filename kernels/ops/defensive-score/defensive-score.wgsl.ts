import { groupSize, hostTensor, type Tensor, type WgslKernel } from "@kvcache/core";
import { type ArenaDispatch, rowDispatch, slotDispatch } from "../../src/arena-rows.wgsl.ts";
import { checkPooling } from "../../src/pooling.ts";
import { positionOrder, recordPositionOrder, slotAtCode } from "../../src/position-order.wgsl.ts";
import {
  longestWindow,
  recordWindowStatistics,
  recordWindowSums,
  windowsOf,
} from "../../src/window-pass.wgsl.ts";
import { checkWindow, logitScale } from "../../src/window-weights.ts";
import { prefixSumWgsl } from "../prefix-sum/prefix-sum.wgsl.ts";
import { topKWgsl } from "../top-k/top-k.wgsl.ts";
import {
  criticalCode,
  criticalDeclarations,
  raiseCode,
  scoreCode,
  shareCode,
} from "./critical.wgsl.ts";
import {
  defendCode,
  defendDeclarations,
  factorsCode,
  factorsDeclarations,
  floorCode,
  floorDeclarations,
  rowLanes,
} from "./defend.wgsl.ts";
import type { DefensiveScoreParams } from "./defensive-score.ts";
import { firstStageLimit } from "./first-stage-limit.ts";

/** Weights of single queries that are held at once, at most. */
const mostWeights = 2 ** 24;

const bound = (buffer: Tensor, type = "f32") => ({ buffer, type });

export const defensiveScoreWgsl: WgslKernel<DefensiveScoreParams> = {
  record(params, recorder) {
    const { batch, norms, out, criticalMass, windowBias } = params;
    const own = recorder.batch(batch);
    checkWindow(batch, params.window, own.windowSize);
    checkPooling(params.pooling);
    const { totalSlots, numRows, shape } = batch;
    const { numKvHeads: heads, numQueryHeads } = shape;
    const group = groupSize(shape);
    const window = longestWindow(params);
    const maxVectors = window * group;
    const perPass = Math.max(1, Math.min(window, Math.floor(mostWeights / (group * totalSlots))));
    const pass = { batch, window: params.window, scale: logitScale(batch) };
    const tokens = positionOrder(recorder, batch);
    const { words } = tokens;
    const f32 = (length: number) => recorder.tensor("f32", length);

    const order = bound(tokens.order, "u32");
    const marks = bound(tokens.marks, "u32");
    const sequences = bound(windowsOf(pass), "i32");
    const values = bound(f32(perPass * group * totalSlots));
    const factors = bound(f32(2 * numRows * maxVectors), "vec2f");
    const defended = bound(f32(2 * totalSlots), "vec2f");
    const rowSums = bound(f32(2 * numRows), "vec2f");
    const mosts = bound(f32(numRows));
    const means = f32(totalSlots);
    const counts = recorder.tensor("u32", numRows);
    const limits = hostTensor(
      Uint32Array.from(batch.nextPositions, (next) => firstStageLimit(params, next)),
    );
    const plain = { side: "none" } as const;

    for (const arena of own.arenas) {
      const rows = (dispatch: ArenaDispatch & { perRow?: number }) =>
        recorder.dispatch(rowDispatch(own, arena, { ...dispatch, size: rowLanes }));
      const slots = (dispatch: ArenaDispatch) =>
        recorder.dispatch(slotDispatch(own, arena, dispatch));
      recordPositionOrder(recorder, own, arena, tokens);
      const statistics = recordWindowStatistics(recorder, own, arena, pass);
      for (let firstSlab = 0; firstSlab < window; firstSlab += perPass) {
        const numSlabs = Math.min(perPass, window - firstSlab);
        const queries = { power: 1, buffer: 0, slabSize: 1, firstSlab, numSlabs } as const;
        recordWindowSums(recorder, statistics, { ...queries, sums: values.buffer });
        const numbers = { words, totalSlots, maxVectors, firstSlab };
        rows({
          ...plain,
          name: "defensive-score, factors",
          perRow: group * numSlabs,
          declarations: factorsDeclarations(params),
          body: factorsCode,
          u32: { ...numbers, window: params.window },
          reads: { order, marks, sequences, values },
          writes: { factors },
        });
        slots({
          ...plain,
          name: "defensive-score, queries",
          declarations: defendDeclarations(params),
          body: defendCode,
          u32: { ...numbers, numSlabs },
          reads: { order, marks, sequences, values, factors },
          writes: { defended },
        });
      }
      rows({
        ...plain,
        name: "defensive-score, floor",
        declarations: floorDeclarations(params),
        body: floorCode,
        u32: { words, maxVectors },
        reads: { marks, sequences, factors },
        writes: { defended, rowSums },
      });
      slots({
        name: "defensive-score, shares",
        declarations: slotAtCode,
        body: shareCode(heads),
        u32: { words },
        side: "read",
        reads: { order, marks, norms: bound(norms) },
        writes: { defended, means: bound(means) },
      });
      rows({
        ...plain,
        name: "defensive-score, critical tokens",
        declarations: criticalDeclarations,
        body: criticalCode(heads, numQueryHeads),
        u32: { measureBias: Number(windowBias === "reference") },
        f32: { criticalMass, bias: windowBias === "reference" ? 0 : windowBias },
        reads: { sequences, defended, rowSums, limits: bound(limits, "u32") },
        writes: { mosts, counts: bound(counts, "u32") },
      });
    }
    const indptr = recorder.tensor("u32", numRows + 1);
    const indices = recorder.tensor("u32", totalSlots);
    prefixSumWgsl.record({ counts, out: indptr }, recorder);
    // Means stand in order of positions, so of equal ones the earlier position wins.
    const ranked = { rowIndptr: batch.rowIndptr, scores: means, counts, indptr, indices };
    topKWgsl.record(ranked, recorder);
    const scores = bound(out);
    for (const arena of own.arenas) {
      const slots = (dispatch: ArenaDispatch) =>
        recorder.dispatch(slotDispatch(own, arena, dispatch));
      slots({
        ...plain,
        name: "defensive-score",
        body: scoreCode(heads),
        reads: { order, defended, mosts },
        writes: { scores },
      });
      slots({
        ...plain,
        name: "defensive-score, raised",
        body: raiseCode(heads),
        reads: {
          order,
          mosts,
          counts: bound(counts, "u32"),
          indptr: bound(indptr, "u32"),
          indices: bound(indices, "u32"),
        },
        writes: { scores },
      });
    }
  },
};
