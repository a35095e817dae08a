import { defineKernel, groupSize, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";
import { tokensForMass } from "./minimum-budget.ts";

export interface QueryHeadBudgetParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots × groupSize], see {@link windowSums}. */
  readonly sums: Tensor;
  /** Fraction of a query head's attention that must be kept, in (0, 1]. */
  readonly mass: number;
  /** Last positions that are not looked at. */
  readonly exclude: number;
  /** f32 [batch.numRows × groupSize]: query heads of a row one after another. */
  readonly out: Tensor;
}

/** Tokens, the dearest first, that carry `mass` of the window's attention, per query head. */
export const queryHeadBudget = defineKernel<QueryHeadBudgetParams>({
  name: "query-head-budget",
  reference({ batch, sums, mass, exclude, out }) {
    const table = hostArray(sums, "f32");
    const budgets = hostArray(out, "f32");
    const group = groupSize(batch.shape);
    forEachRow(batch, ({ row, sequenceIndex, begin, view }) => {
      const limit = batch.nextPositions[sequenceIndex]! - exclude;
      const positions = gatherPositions(view);
      for (let member = 0; member < group; member++) {
        const at = begin * group + member * view.length;
        const own = table.subarray(at, at + view.length);
        const seen = own.filter((_, slot) => positions[slot]! < limit);
        budgets[row * group + member] = tokensForMass(seen, mass);
      }
    });
  },
});
