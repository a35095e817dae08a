import { rowLanes } from "./defend.wgsl.ts";

/*
 * The second half: tokens' shares of their position's norms, the layer's maximum, and the tokens
 * that carry the critical mass of a row's mean attention.
 */

/**
 * A thread per token: its worst attention times its share of the norms at its position. Its mean goes
 * where the top-k reads it.
 */
export const shareCode = (heads: number): string => /* wgsl */ `
  let worst = defended[row.begin + j].x;
  means[row.begin + j] = defended[row.begin + j].y;
  if (worst < 0.0) { return; }
  let slot = order[row.begin + j];
  let position = side[slotOf(row, slot)];
  var sum = 0.0;
  for (var head = 0u; head < ${heads}u; head++) {
    let other = rowOf(r - row.head + head);
    let same = slotAt(other, position);
    if (same >= 0) { sum += norms[other.begin + u32(same)]; }
  }
  defended[row.begin + j].x = worst * select(0.0, norms[row.begin + slot] / sum, sum > 0.0);
`;

export const criticalDeclarations = /* wgsl */ `
var<workgroup> sums: array<f32, ${rowLanes}>;
var<workgroup> counted: array<vec2u, ${rowLanes}>;
/** Sum of the means of a row whose bits are at least these; means are not negative. */
fn massFrom(row: Row, lane: u32, bits: u32) -> f32 {
  var own = 0.0;
  for (var k = lane; k < row.length; k += ${rowLanes}u) {
    let mean = defended[row.begin + k].y;
    if (mean >= 0.0 && bitcast<u32>(mean) >= bits) { own += mean; }
  }
  workgroupBarrier();
  sums[lane] = own;
  workgroupBarrier();
  var sum = 0.0;
  for (var k = 0u; k < ${rowLanes}u; k++) { sum += sums[k]; }
  return sum;
}
`;

/**
 * How many of a row's largest means stay below the critical mass together: the bits of the mean that
 * reaches it are found one by one. Also the largest score of the row.
 */
export const criticalCode = (heads: number, queryHeads: number): string => /* wgsl */ `
  var recent = 0.0;
  for (var head = 0u; head < ${heads}u; head++) {
    recent += rowSums[row.index - row.head + head].y;
  }
  let measured = recent / f32(${queryHeads}u * u32(sequences[2u * row.sequence + 1u]));
  let bias = select(params.bias, measured, params.measureBias == 1u);
  let wanted = (params.criticalMass - bias) * rowSums[row.index].x;
  var most = 0.0;
  for (var k = lane; k < row.length; k += ${rowLanes}u) {
    most = max(most, defended[row.begin + k].x);
  }
  sums[lane] = most;
  workgroupBarrier();
  if (lane == 0u) {
    for (var k = 0u; k < ${rowLanes}u; k++) { most = max(most, sums[k]); }
    mosts[row.index] = most;
  }
  var bits = 0u;
  for (var bit = 30u; bit < 31u; bit--) {
    let candidate = bits | (1u << bit);
    if (massFrom(row, lane, candidate) >= wanted) { bits = candidate; }
  }
  let all = massFrom(row, lane, 0u);
  let above = massFrom(row, lane, bits + 1u);
  var own = vec2u();
  for (var k = lane; k < row.length; k += ${rowLanes}u) {
    let mean = defended[row.begin + k].y;
    let key = bitcast<u32>(mean);
    if (mean >= 0.0) { own += vec2u(u32(key > bits), u32(key == bits)); }
  }
  counted[lane] = own;
  workgroupBarrier();
  if (lane == 0u) {
    var both = vec2u();
    for (var k = 0u; k < ${rowLanes}u; k++) { both += counted[k]; }
    let more = ceil((wanted - above) / bitcast<f32>(bits)) - 1.0;
    let tied = u32(clamp(more, 0.0, f32(both.y)));
    let exists = wanted > 0.0 && all >= wanted;
    counts[row.index] = select(0u, min(both.x + tied, limits[row.sequence]), exists);
  }
`;

const mostCode = (heads: number) => /* wgsl */ `
  var most = 0.0;
  for (var head = 0u; head < ${heads}u; head++) {
    most = max(most, mosts[row.index - row.head + head]);
  }
`;

/** A thread per token: its own score; the window's tokens get the layer's maximum. */
export const scoreCode = (heads: number): string => /* wgsl */ `${mostCode(heads)}
  let own = defended[row.begin + j].x;
  scores[row.begin + order[row.begin + j]] = select(own, most, own < 0.0);
`;

/** A thread per critical token, which gets the layer's maximum too. */
export const raiseCode = (heads: number): string => /* wgsl */ `
  if (j >= counts[row.index]) { return; }
${mostCode(heads)}
  scores[row.begin + order[row.begin + indices[indptr[row.index] + j]]] = most;
`;
