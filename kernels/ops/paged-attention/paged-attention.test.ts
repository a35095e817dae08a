import { type KvShape, signalFlag } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { gatherPositions, rowView, slotOf } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testCache } from "../../src/test-cache.ts";
import { type AttentionStep, pagedAttention } from "./paged-attention.ts";

interface Tokens {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
}

const tokensOf = (shape: KvShape, count: number, seed: number): Tokens => {
  const random = randomNumbers(seed);
  const { numQueryHeads, numKvHeads, headDim } = shape;
  return {
    query: randomFloats(random, count * numQueryHeads * headDim, 1.5),
    key: randomFloats(random, count * numKvHeads * headDim, 1.5),
    value: randomFloats(random, count * numKvHeads * headDim),
  };
};

/** Softmax attention of one query over the positions of all tokens that `sees` lets through. */
function denseAttention(
  shape: KvShape,
  all: Tokens,
  position: number,
  queryHead: number,
  sees: (key: number) => boolean,
  softcap?: number,
): { out: number[]; weights: Map<number, number> } {
  const { numQueryHeads, numKvHeads, headDim } = shape;
  const head = Math.floor(queryHead / (numQueryHeads / numKvHeads));
  const logits = new Map<number, number>();
  for (let k = 0; k <= position; k++) {
    if (!sees(k)) continue;
    let dot = 0;
    for (let c = 0; c < headDim; c++)
      dot +=
        all.query[(position * numQueryHeads + queryHead) * headDim + c]! *
        all.key[(k * numKvHeads + head) * headDim + c]!;
    const logit = dot / Math.sqrt(headDim);
    logits.set(k, softcap === undefined ? logit : softcap * Math.tanh(logit / softcap));
  }
  const max = Math.max(...logits.values());
  const total = [...logits.values()].reduce((sum, logit) => sum + Math.exp(logit - max), 0);
  const weights = new Map([...logits].map(([k, logit]) => [k, Math.exp(logit - max) / total]));
  const out = Array.from({ length: headDim }, (_, c) => {
    let sum = 0;
    for (const [k, weight] of weights)
      sum += weight * all.value[(k * numKvHeads + head) * headDim + c]!;
    return sum;
  });
  return { out, weights };
}

function stepOf(
  sequences: readonly {
    slot: number;
    first: number;
    tokens: number;
    flags?: number;
    buffer?: number;
  }[],
): AttentionStep {
  const cuTokens = [0];
  for (const { tokens } of sequences) cuTokens.push(cuTokens.at(-1)! + tokens);
  return {
    cuTokens: Int32Array.from(cuTokens),
    positions: Int32Array.from(
      sequences.flatMap(({ first, tokens }) => Array.from({ length: tokens }, (_, i) => first + i)),
    ),
    sequences: Int32Array.from(sequences, ({ slot }) => slot),
    signalFlags: Int32Array.from(sequences, ({ flags = 0 }) => flags),
    attentionBuffers: Int32Array.from(sequences, ({ buffer = 0 }) => buffer),
  };
}

const slice = (tokens: Tokens, shape: KvShape, from: number, to: number): Tokens => ({
  query: tokens.query.slice(
    from * shape.numQueryHeads * shape.headDim,
    to * shape.numQueryHeads * shape.headDim,
  ),
  key: tokens.key.slice(
    from * shape.numKvHeads * shape.headDim,
    to * shape.numKvHeads * shape.headDim,
  ),
  value: tokens.value.slice(
    from * shape.numKvHeads * shape.headDim,
    to * shape.numKvHeads * shape.headDim,
  ),
});

describe("paged attention", () => {
  for (const numKvHeads of [4, 2, 1])
    for (const blockSize of [8, 16, 32])
      for (const chunk of [1, 7, 512])
        it(`equals masked dense attention: GQA ${4 / numKvHeads}, blocks of ${blockSize}, chunks of ${chunk}`, () => {
          const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads, headDim: 8 };
          const layer = 1;
          const [before, after] = [41, 19];
          const all = tokensOf(shape, before + after, 100 * numKvHeads + blockSize);
          const { cache, append, keep } = testCache(shape, { blockSize });
          const width = shape.numQueryHeads * shape.headDim;
          const run = (from: number, to: number): Float32Array => {
            append(1, to - from);
            const out = new Float32Array((to - from) * width);
            pagedAttention.reference({
              cache,
              step: stepOf([{ slot: 1, first: from, tokens: to - from }]),
              layer,
              scale: 1 / Math.sqrt(shape.headDim),
              ...slice(all, shape, from, to),
              out,
            });
            return out;
          };
          run(0, before);
          const random = randomNumbers(blockSize);
          // Ragged: head h keeps about 1 / (h + 2) of its slots, in scrambled order; the last nothing.
          const kept = Array.from({ length: numKvHeads }, (_, head) => {
            const slots = Array.from({ length: before }, (_, j) => j).filter(
              () => head < 3 && random() < 1 / (head + 2),
            );
            slots.sort(() => random() - 0.5);
            keep(1, layer, head, slots);
            return new Set(slots);
          });
          for (let from = before; from < before + after; from += chunk) {
            const to = Math.min(before + after, from + chunk);
            const out = run(from, to);
            for (let p = from; p < to; p++)
              for (let head = 0; head < 4; head++) {
                const mine = kept[Math.floor((head * numKvHeads) / 4)]!;
                const expected = denseAttention(
                  shape,
                  all,
                  p,
                  head,
                  (k) => k >= before || mine.has(k),
                );
                expected.out.forEach((value, c) => {
                  const got = out[(p - from) * width + head * shape.headDim + c]!;
                  expect(Math.abs(got - value)).toBeLessThan(1e-5);
                });
              }
          }
        });

  it("sees a sliding window by true position, through softcap, over several sequences", () => {
    const shape = { numLayers: 1, numQueryHeads: 6, numKvHeads: 3, headDim: 4 };
    const { cache, append, keep } = testCache(shape, { blockSize: 4, maxSequences: 3 });
    const scale = 1 / Math.sqrt(shape.headDim);
    const all = [tokensOf(shape, 30, 1), tokensOf(shape, 30, 2)];
    const width = shape.numQueryHeads * shape.headDim;
    const run = (ranges: readonly { slot: number; first: number; tokens: number }[]) => {
      const parts = ranges.map(({ slot, first, tokens }) => {
        append(slot, tokens);
        return slice(all[slot === 2 ? 1 : 0]!, shape, first, first + tokens);
      });
      const join = (name: keyof Tokens) =>
        Float32Array.from(parts.flatMap((part) => Array.from(part[name])));
      const query = join("query");
      const out = new Float32Array(query.length);
      pagedAttention.reference({
        cache,
        step: stepOf(ranges),
        layer: 0,
        scale,
        slidingWindow: 6,
        softcap: 2,
        query,
        key: join("key"),
        value: join("value"),
        out,
      });
      return out;
    };
    run([
      { slot: 0, first: 0, tokens: 20 },
      { slot: 2, first: 0, tokens: 11 },
    ]);
    const kept = new Set([19, 3, 17, 15, 0]);
    for (let head = 0; head < 3; head++) keep(0, 0, head, [...kept]);
    const out = run([
      { slot: 2, first: 11, tokens: 3 },
      { slot: 0, first: 20, tokens: 2 },
    ]);
    const check = (row: number, sequence: number, p: number, sees: (k: number) => boolean) => {
      for (let head = 0; head < 6; head++) {
        const expected = denseAttention(shape, all[sequence]!, p, head, sees, 2);
        expected.out.forEach((value, c) => {
          expect(Math.abs(out[row * width + head * 4 + c]! - value)).toBeLessThan(1e-5);
        });
      }
    };
    for (let i = 0; i < 3; i++) check(i, 1, 11 + i, (k) => k > 11 + i - 6);
    for (let i = 0; i < 2; i++)
      check(3 + i, 0, 20 + i, (k) => k > 20 + i - 6 && (k >= 20 || kept.has(k)));
  });

  it("collects attention sums and the ring of last queries where flags ask for them", () => {
    const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
    const windowSize = 5;
    const { cache, append } = testCache(shape, { blockSize: 4, windowSize });
    const all = tokensOf(shape, 23, 7);
    const buffer = 3;
    const flags =
      signalFlag.windowQueries | signalFlag.sumAttention | signalFlag.sumSquaredAttention;
    for (const [from, to] of [
      [0, 12],
      [12, 15],
      [15, 23],
    ] as const) {
      append(0, to - from);
      append(1, to - from);
      const part = slice(all, shape, from, to);
      const twice = (values: Float32Array) => Float32Array.from([...values, ...values]);
      pagedAttention.reference({
        cache,
        step: stepOf([
          { slot: 0, first: from, tokens: to - from, flags, buffer },
          { slot: 1, first: from, tokens: to - from },
        ]),
        layer: 1,
        scale: 0.5,
        query: twice(part.query),
        key: twice(part.key),
        value: twice(part.value),
        out: new Float32Array(2 * part.query.length),
      });
    }
    for (let head = 0; head < 2; head++) {
      const sum = new Float64Array(23);
      const squares = new Float64Array(23);
      for (let p = 0; p < 23; p++)
        for (const queryHead of [2 * head, 2 * head + 1])
          for (const [k, weight] of denseAttention(shape, all, p, queryHead, () => true).weights)
            if (p - k >= buffer) {
              sum[k]! += weight;
              squares[k]! += weight ** 2;
            }
      const view = rowView(cache, 0, 1, head);
      const silent = rowView(cache, 1, 1, head);
      gatherPositions(view).forEach((position, j) => {
        expect(view.arena.sumAttention[slotOf(view, j)]).toBeCloseTo(sum[position]!, 5);
        expect(view.arena.sumSquaredAttention[slotOf(view, j)]).toBeCloseTo(squares[position]!, 5);
        expect(silent.arena.sumAttention[slotOf(silent, j)]).toBe(0);
      });
    }
    const width = shape.numQueryHeads * shape.headDim;
    for (let p = 18; p < 23; p++) {
      const at = (windowSize + (p % windowSize)) * width;
      expect(cache.windowQueries.slice(at, at + width)).toEqual(
        all.query.slice(p * width, (p + 1) * width),
      );
    }
    expect(cache.windowQueries.slice(2 * windowSize * width).every((x) => x === 0)).toBe(true);
  });

  it("stores half precision, and reads another layer's blocks where layers share", () => {
    const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 8 };
    const half = testCache(shape, { dtype: "f16", layerMap: [0, 0] });
    const all = tokensOf(shape, 9, 3);
    half.append(0, 9);
    const attend = (layer: number, tokens: Tokens) => {
      const out = new Float32Array(all.query.length);
      pagedAttention.reference({
        cache: half.cache,
        step: stepOf([{ slot: 0, first: 0, tokens: 9 }]),
        layer,
        scale: 1 / Math.sqrt(8),
        ...tokens,
        out,
      });
      return out;
    };
    const own = attend(0, all);
    const shared = attend(1, { ...all, key: all.key.map(() => 9), value: all.value.map(() => 9) });
    expect(shared).toEqual(own);
    for (let p = 0; p < 9; p++)
      denseAttention(shape, all, p, 1, () => true).out.forEach((value, c) => {
        expect(Math.abs(own[(p * 2 + 1) * 8 + c]! - value)).toBeLessThan(4e-3);
      });
  });

  it("refuses a step that was not appended", () => {
    const shape = { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 4 };
    const { cache } = testCache(shape);
    const all = tokensOf(shape, 2, 1);
    expect(() =>
      pagedAttention.reference({
        cache,
        step: stepOf([{ slot: 0, first: 0, tokens: 2 }]),
        layer: 0,
        scale: 1,
        ...all,
        out: new Float32Array(8),
      }),
    ).toThrowError(/append/);
  });
});
