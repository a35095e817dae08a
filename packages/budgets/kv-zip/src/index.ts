import {
  type BudgetAllocator,
  type BudgetRequest,
  checkOneOf,
  KvCacheError,
  type KvShape,
  numRows,
  sum,
} from "@kvcache/core";
import {
  aboveRankCounts,
  evenShare,
  pooledCounts,
  pooledTokens,
  unprotectedCounts,
  unprotectedTokens,
  wholeHeadCounts,
  wholeHeads,
} from "@kvcache/kernels";

export interface KvZipBudgetOptions {
  /**
   * Who competes for the tokens: all rows of the sequence (default), those of each layer, nobody
   * (`row`: each keeps the same), or whole heads (`head`: the best keep everything, the others only
   * what is protected).
   */
  readonly scope?: "model" | "layer" | "row" | "head";
  /**
   * `count` (default): what is protected is part of the total, which is exact. `strict`: as the
   * authors, only what scores above the entry at the rank stays, protected tokens beside it.
   */
  readonly threshold?: "count" | "strict";
  /** With `head`: fixed scores of the heads, [numLayers × numKvHeads]; else the context's own. */
  readonly headScores?: readonly number[] | null;
}

/**
 * KVzip — the best scores of the whole model stay, wherever they lie.
 * All layers and heads compete for one total (or the heads of a layer, or heads as a whole).
 * Kim et al. 2025, arXiv:2505.23416. Differs from the paper: every head keeps at least one token.
 */
export function kvZip(options: KvZipBudgetOptions = {}): BudgetAllocator {
  const { scope = "model", threshold = "count", headScores = null } = options;
  checkOneOf("scope", scope, ["model", "layer", "row", "head"]);
  checkOneOf("threshold", threshold, ["count", "strict"]);
  if (threshold === "strict" && scope === "layer")
    throw new KvCacheError("invalid-argument", "A strict threshold needs the scope model.", {
      value: scope,
      remedy: 'Use the scope "model", or the threshold "count".',
    });
  return Object.freeze<BudgetAllocator>({
    name: "kv-zip",
    needs: [],
    checkShape: (shape) => checkHeadScores(headScores, shape),
    resolve: (request) => Math.min(sum(request.lengths), promised(scope, threshold, request)),
    allocate(encoder, { batch, target, scores }, counts) {
      const params = { batch, target, scores, counts };
      if (scope === "head")
        encoder.run(wholeHeadCounts, { ...params, headScores: headScores ?? undefined });
      else if (scope === "row") encoder.run(unprotectedCounts, params);
      else if (threshold === "strict") encoder.run(aboveRankCounts, params);
      else encoder.run(pooledCounts, { ...params, scope });
    },
  });
}

/** Tokens that all rows keep at most, protected ones and one of each row included. */
function promised(
  scope: "model" | "layer" | "row" | "head",
  threshold: "count" | "strict",
  request: BudgetRequest,
): number {
  const { target, lengths, nextPosition, layout, protect } = request;
  // Throws for targets below what is protected.
  evenShare(request, true);
  const kept = protect.sinks + protect.recent;
  const least = sum(lengths.map((length) => Math.min(length, Math.max(1, kept))));
  const rows = lengths.length;
  if (scope === "head") {
    const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
    return least + wholeHeads(target, nextPosition, rows, layout) * longest;
  }
  if (scope === "row")
    return least + rows * unprotectedTokens(target, nextPosition, 1, kept, layout);
  if (threshold === "strict")
    return "ratio" in target && target.ratio === 1
      ? sum(lengths)
      : least + unprotectedTokens(target, nextPosition, rows, kept, layout);
  const pool = scope === "layer" ? layout.shape.numKvHeads : rows;
  const tokens = pooledTokens(target, nextPosition, pool, layout);
  let total = 0;
  for (let first = 0; first < rows; first += pool)
    total += Math.max(
      tokens,
      sum(lengths.slice(first, first + pool).map((length) => Math.min(length, Math.max(1, kept)))),
    );
  return total;
}

function checkHeadScores(headScores: readonly number[] | null, shape: KvShape): void {
  if (headScores === null || headScores.length === numRows(shape)) return;
  throw new KvCacheError(
    "invalid-plan",
    `headScores has ${headScores.length} entries, the model ${numRows(shape)} KV heads.`,
    {
      value: headScores.length,
      remedy: "Give one score per layer and KV head, made for this model.",
    },
  );
}
