import { groupSize } from "@kvcache/core";
import { pooledCode } from "../../src/pooling.wgsl.ts";
import { placeOfCode } from "../../src/position-order.wgsl.ts";
import type { DefensiveScoreParams } from "./defensive-score.ts";

/*
 * The first half of the score: weights of single queries → the worst and the mean attention of every
 * token before the window, by its place in the row's order of positions; −1 for the window's own.
 */

export const rowLanes = 64;

const windowCode = ({ batch }: DefensiveScoreParams) => /* wgsl */ `
${placeOfCode}
const groupSize = ${groupSize(batch.shape)}u;
var<private> eligible: u32;
fn observedOf(row: Row) -> u32 { return u32(sequences[2u * row.sequence + 1u]); }
fn eligibleOf(row: Row) -> u32 {
  return placeOf(row, u32(sequences[2u * row.sequence]) - observedOf(row));
}
fn isScored(row: Row, k: u32) -> bool { return k < eligible; }
`;

export const factorsDeclarations = (params: DefensiveScoreParams): string =>
  `${windowCode(params)}${pooledCode(params.pooling)}
var<workgroup> parts: array<vec3f, ${rowLanes}>;
`;

/** What gives a query's pooled attention its mass back, and its attention to the last tokens. */
export const factorsCode = /* wgsl */ `
  let member = part % groupSize;
  let slab = part / groupSize;
  let i = params.firstSlab + slab;
  if (i >= observedOf(row)) { return; }
  eligible = eligibleOf(row);
  let at = (slab * groupSize + member) * params.totalSlots + row.begin;
  var own = vec3f();
  for (var k = lane; k < eligible; k += ${rowLanes}u) {
    let weight = values[at + order[row.begin + k]];
    own += vec3f(weight, pooled(row, k, at), select(0.0, weight, k + params.window >= eligible));
  }
  parts[lane] = own;
  workgroupBarrier();
  if (lane == 0u) {
    var sum = vec3f();
    for (var k = 0u; k < ${rowLanes}u; k++) { sum += parts[k]; }
    let factor = select(0.0, sum.x / sum.y, sum.y > 0.0);
    factors[row.index * params.maxVectors + i * groupSize + member] = vec2f(factor, sum.z);
  }
`;

export const defendDeclarations = (params: DefensiveScoreParams): string =>
  windowCode(params) + pooledCode(params.pooling);

/** A thread per token: takes the queries of some slabs into its worst and its mean. */
export const defendCode = /* wgsl */ `
  eligible = eligibleOf(row);
  if (j >= eligible) {
    defended[row.begin + j] = vec2f(-1.0);
    return;
  }
  let observed = observedOf(row);
  var own = defended[row.begin + j];
  for (var slab = 0u; slab < params.numSlabs && params.firstSlab + slab < observed; slab++) {
    for (var member = 0u; member < groupSize; member++) {
      let at = (slab * groupSize + member) * params.totalSlots + row.begin;
      let v = (params.firstSlab + slab) * groupSize + member;
      own.x = max(own.x, pooled(row, j, at) * factors[row.index * params.maxVectors + v].x);
      own.y += values[at + order[row.begin + j]] / f32(groupSize * observed);
    }
  }
  defended[row.begin + j] = own;
`;

export const floorDeclarations = (params: DefensiveScoreParams): string =>
  `${windowCode(params)}
var<workgroup> parts: array<vec3f, ${rowLanes}>;
`;

/** Lifts the worst of a row to its mean; leaves the sums of means and of recent attention. */
export const floorCode = /* wgsl */ `
  let end = eligibleOf(row);
  var own = vec3f();
  for (var k = lane; k < end; k += ${rowLanes}u) { own += vec3f(defended[row.begin + k], 0.0); }
  for (var v = lane; v < observedOf(row) * groupSize; v += ${rowLanes}u) {
    own.z += factors[row.index * params.maxVectors + v].y;
  }
  parts[lane] = own;
  workgroupBarrier();
  var sum = vec3f();
  for (var k = 0u; k < ${rowLanes}u; k++) { sum += parts[k]; }
  let floor = sum.x / f32(max(1u, end));
  for (var k = lane; k < end; k += ${rowLanes}u) {
    let at = row.begin + k;
    defended[at].x = max(defended[at].x, floor);
  }
  if (lane == 0u) { rowSums[row.index] = sum.yz; }
`;
