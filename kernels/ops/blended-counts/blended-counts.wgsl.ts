import { hostArray, hostTensor, type Tensor, targetTokens, type WgslKernel } from "@kvcache/core";
import { beyondLimit, recordDivision } from "../../src/divide-among-rows.wgsl.ts";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";
import { recordProtectedCounts } from "../uniform-counts/protected-counts.wgsl.ts";
import type { BlendedCountsParams } from "./blended-counts.ts";

/** As `pyramidBase`. */
const pyramidCode = /* wgsl */ `
fn baseOf(even: i32, candidates: i32, layer: i32) -> i32 {
  if (params.beta == 0) { return even; }
  var least = even / params.beta;
  var most = 2 * even - least;
  if (most >= candidates) {
    most = candidates;
    least = 2 * even - most;
  }
  var step = 0;
  if (params.numLayers > 1) {
    let between = params.numLayers - 1;
    step = (most - least) / between;
    if ((most - least) % between < 0) { step -= 1; }
  }
  return most - layer * step;
}
`;

/** A thread per layer of a sequence; given: tokens and layer. A layer that keeps all has no share. */
const basesCode = forEachCode(/* wgsl */ `
  let start = i / params.layers * params.layers * params.heads;
  var longest = 0;
  for (var row = start; row < start + params.layers * params.heads; row++) {
    longest = max(longest, i32(rowIndptr[row + 1u] - rowIndptr[row] - isProtected[row]));
  }
  let tokens = i32(given[2u * i]);
  var keepsAll = true;
  var total = 0;
  for (var row = i * params.heads; row < (i + 1u) * params.heads; row++) {
    let candidates = i32(rowIndptr[row + 1u] - rowIndptr[row] - isProtected[row]);
    let even = max(0, tokens - i32(isProtected[row]));
    let base = max(0, min(baseOf(even, longest, i32(given[2u * i + 1u])), candidates));
    keepsAll = keepsAll && even > longest;
    bases[row] = u32(base);
    total += base;
  }
  left[i] = select(u32(total), 0xffffffffu, keepsAll);
`);

/** A thread per row: `parts` has the even part of every base, then the other of every count. */
const countsCode = forEachCode(/* wgsl */ `
  let length = rowIndptr[i + 1u] - rowIndptr[i];
  let candidates = length - isProtected[i];
  let layer = i / params.heads;
  var share = bases[i];
  if (left[layer] == 0xffffffffu) {
    share = candidates;
  } else if (given[2u * layer + 1u] >= params.skipLayers) {
    let whole = parts[bases[i]] + parts[params.partsAt + 2u * top[i]];
    let half = parts[params.partsAt + 2u * top[i] + 1u];
    share = whole + select(half / 2u, whole & 1u, half == 1u);
  }
  counts[i] = min(length, max(1u, isProtected[i] + min(share, candidates)));
`);

/**
 * The two parts of a share in double precision, for every number: ⌊b × floor⌋ of each base; whole
 * part of (1 − floor) × t of each count, and whether its fraction is below, at or above a half.
 */
function partsOf(floor: number, longest: number): Uint32Array {
  const parts = new Uint32Array(3 * (longest + 1));
  for (let i = 0; i <= longest; i++) {
    const value = (1 - floor) * i;
    const fraction = value - Math.floor(value);
    parts[i] = Math.trunc(i * floor);
    parts[longest + 1 + 2 * i] = Math.floor(value);
    parts[longest + 2 + 2 * i] = fraction === 0.5 ? 1 : fraction < 0.5 ? 0 : 2;
  }
  return parts;
}

/** Fractions so near a half that adding a whole number could round them to one. */
const isDelicate = (floor: number, longest: number): boolean =>
  Array.from({ length: longest + 1 }, (_, i) => ((1 - floor) * i) % 1).some(
    (fraction) => fraction !== 0.5 && Math.abs(fraction - 0.5) < 1e-9,
  );

function longestRow(indptr: Uint32Array): number {
  let longest = 0;
  for (let row = 1; row < indptr.length; row++)
    longest = Math.max(longest, indptr[row]! - indptr[row - 1]!);
  return longest;
}

const bound = (buffer: Tensor) => ({ buffer, type: "u32" });

/** Rows that round for themselves, of scores as they are: the authors' rule. */
export const blendedCountsWgsl: WgslKernel<BlendedCountsParams> = {
  supports: ({ batch, floor, rounding, normalize }) =>
    rounding === "half-even" &&
    !normalize &&
    "data" in batch.rowIndptr &&
    !isDelicate(floor, longestRow(hostArray(batch.rowIndptr, "u32"))),
  record({ batch, target, scores, floor, skipLayers, layerBudget, counts }, recorder) {
    const { numRows, layers, shape } = batch;
    const heads = shape.numKvHeads;
    const numGroups = numRows / heads;
    const given = batch.nextPositions.flatMap((next) => {
      const tokens = Math.min(targetTokens(target, next, batch.layout), 2 ** 30);
      return layers.flatMap((layer) => [tokens, layer]);
    });
    const longest = longestRow(hostArray(batch.rowIndptr, "u32"));
    const rowIndptr = bound(batch.rowIndptr);
    const isProtected = bound(recordProtectedCounts(recorder, batch, scores));
    const groups = bound(hostTensor(Uint32Array.from(given)));
    const bases = bound(recorder.tensor("u32", numRows));
    const left = bound(recorder.tensor("u32", numGroups));
    const top = bound(recorder.tensor("u32", numRows));
    recorder.dispatch({
      name: "blended-counts, bases",
      code: pyramidCode + basesCode,
      u32: { count: numGroups, heads, layers: layers.length },
      i32: {
        numLayers: shape.numLayers,
        beta: layerBudget.kind === "pyramid" ? layerBudget.beta : 0,
      },
      reads: { rowIndptr, isProtected, given: groups },
      writes: { bases, left },
      workgroups: workgroupsFor(numGroups),
    });
    recordDivision(recorder, {
      rowIndptr: batch.rowIndptr,
      scores,
      numRows,
      rowsPerGroup: heads,
      wanted: left.buffer,
      // Protected slots stand outside.
      share: beyondLimit,
      limits: isProtected.buffer,
      shares: top.buffer,
    });
    recorder.dispatch({
      name: "blended-counts",
      code: countsCode,
      u32: { count: numRows, heads, skipLayers, partsAt: longest + 1 },
      reads: {
        rowIndptr,
        isProtected,
        given: groups,
        bases,
        left,
        top,
        parts: bound(hostTensor(partsOf(floor, longest))),
      },
      writes: { counts: bound(counts) },
      workgroups: workgroupsFor(numRows),
    });
  },
};
