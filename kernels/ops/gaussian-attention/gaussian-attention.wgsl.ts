import { groupSize, hostTensor, type Tensor, type WgslKernel } from "@kvcache/core";
import { rowDispatch, slotDispatch } from "../../src/arena-rows.wgsl.ts";
import type { GaussianAttentionParams } from "./gaussian-attention.ts";
import { turned } from "./turned-statistics.ts";

const lanes = 64;

/** 64 tokens × one query head of the group: k·mean + kᵀ covariance k. */
const logitsCode = (group: number, varies: boolean) => /* wgsl */ `
  let member = part % ${group}u;
  let j = part / ${group}u * ${lanes}u + lane;
  if (j >= row.length) { return; }
  let slot = slotOf(row, j);
  let at = keyOf(slot);
  let head = row.index * ${group}u + member;
  var key: array<vec4f, quads>;
  var logit = 0.0;
  for (var c = 0u; c < quads; c++) {
    key[c] = toQuad(blocks[at + c]);
    logit += dot(means[head * quads + c], key[c]);
  }
  ${
    varies
      ? `for (var d = 0u; d < 4u * quads; d++) {
    let line = (head * 4u * quads + d) * quads;
    var product = 0.0;
    for (var c = 0u; c < quads; c++) { product += dot(covariances[line + c], key[c]); }
    logit += key[d / 4u][d % 4u] * product;
  }`
      : ""
  }
  let hidden = bitcast<i32>(side[slot]) < params.sinks;
  logits[member * params.totalSlots + row.begin + j] = select(logit, lowest, hidden);
`;
const lowest = "const lowest = -3.0e38;\n";

/** Largest logit of a query head, and one over the sum of exponentials. */
const softmaxCode = /* wgsl */ `
  let at = part * params.totalSlots + row.begin;
  var most = lowest;
  for (var j = lane; j < row.length; j += ${lanes}u) { most = max(most, logits[at + j]); }
  parts[lane] = most;
  workgroupBarrier();
  for (var k = 0u; k < ${lanes}u; k++) { most = max(most, parts[k]); }
  workgroupBarrier();
  var total = 0.0;
  for (var j = lane; j < row.length; j += ${lanes}u) {
    let logit = logits[at + j];
    if (logit > lowest) { total += exp(logit - most); }
  }
  parts[lane] = total;
  workgroupBarrier();
  if (lane == 0u) {
    var sum = 0.0;
    for (var k = 0u; k < ${lanes}u; k++) { sum += parts[k]; }
    softmaxes[row.index * params.perRow + part] = vec2f(most, select(0.0, 1.0 / sum, sum > 0.0));
  }
`;

const scoreCode = (group: number, valueNorm: boolean) => /* wgsl */ `
  let slot = slotOf(row, j);
  if (bitcast<i32>(side[slot]) < params.sinks) {
    scores[row.begin + j] = bitcast<f32>(params.infinity);
    return;
  }
  var score = 0.0;
  for (var member = 0u; member < ${group}u; member++) {
    let softmax = softmaxes[row.index * ${group}u + member];
    score += exp(logits[member * params.totalSlots + row.begin + j] - softmax.x) * softmax.y;
  }
  score /= ${group}.0;
  ${
    valueNorm
      ? `let at = valueOf(slot);
  var squares = 0.0;
  for (var c = 0u; c < quads; c++) {
    let value = toQuad(blocks[at + c]);
    squares += dot(value, value);
  }
  score = (score + params.epsilon) * sqrt(squares);`
      : ""
  }
  scores[row.begin + j] = score;
`;

const bound = (buffer: Tensor, type = "f32") => ({ buffer, type });

/** Statistics are turned and scaled on the host: there are few, and rotations are known there. */
export const gaussianAttentionWgsl: WgslKernel<GaussianAttentionParams> = {
  record(params, recorder) {
    const { batch, sinks, valueNorm, epsilon } = params;
    const own = recorder.batch(batch);
    const group = groupSize(batch.shape);
    const { totalSlots } = batch;
    const { means, covariances } = turned(params);
    const logits = bound(recorder.tensor("f32", group * totalSlots));
    const softmaxes = bound(recorder.tensor("f32", 2 * batch.numRows * group), "vec2f");
    const statistics = {
      means: bound(hostTensor(means), "vec4f"),
      ...(covariances && { covariances: bound(hostTensor(covariances), "vec4f") }),
    };
    for (const arena of own.arenas) {
      recorder.dispatch(
        rowDispatch(own, arena, {
          name: "gaussian-attention, logits",
          size: lanes,
          perRow: group * Math.ceil(arena.longestRow / lanes),
          declarations: lowest,
          body: logitsCode(group, covariances !== undefined),
          u32: { totalSlots },
          i32: { sinks },
          side: "read",
          blocks: true,
          reads: statistics,
          writes: { logits },
        }),
      );
      recorder.dispatch(
        rowDispatch(own, arena, {
          name: "gaussian-attention, softmax",
          size: lanes,
          perRow: group,
          declarations: `${lowest}var<workgroup> parts: array<f32, ${lanes}>;\n`,
          body: softmaxCode,
          u32: { totalSlots },
          side: "none",
          reads: { logits },
          writes: { softmaxes },
        }),
      );
      recorder.dispatch(
        slotDispatch(own, arena, {
          name: "gaussian-attention",
          body: scoreCode(group, valueNorm),
          u32: { totalSlots, infinity: 0x7f800000 },
          i32: { sinks },
          f32: { epsilon },
          side: "read",
          blocks: true,
          reads: { logits, softmaxes },
          writes: { scores: bound(params.out) },
        }),
      );
    }
  },
};
