import { type EvictionPolicy, indptrOf, type KvBatch, numRows } from "@kvcache/core";
import { expect, it } from "vitest";
import { createRunner, type SequenceRunner } from "./runner.ts";
import { alone, setUp } from "./test-engine.ts";
import { createWorld, promptOf, testPolicy } from "./test-world.ts";

const window = { kind: "windowQueries", window: 1 } as const;

/** A policy that reads, of row r, the blocks that `choose` names. */
function reading(choose: (row: number, batch: KvBatch) => readonly number[]): EvictionPolicy {
  return {
    ...testPolicy({ trigger: { prefill: false, pressure: false } }),
    readSelector: {
      name: "chosen",
      needs: [window, { kind: "blockBounds" }],
      selectBlocks(encoder, batch) {
        const rows = Array.from({ length: batch.numRows }, (_, row) => choose(row, batch));
        return {
          indptr: encoder.upload(indptrOf(rows.map((blocks) => blocks.length))),
          indices: encoder.upload(Uint32Array.from(rows.flat())),
        };
      },
    },
  };
}

const planOf = (policy: EvictionPolicy) => ({ eviction: { policy, target: { ratio: 1 } } });

/** Keeps the slots of those blocks of 4, as if the others had been evicted. */
async function keepBlocks(sequence: SequenceRunner, length: number, blocks: readonly number[][]) {
  const slots = blocks.map((own) =>
    own.flatMap((block) => [0, 1, 2, 3].map((i) => 4 * block + i).filter((slot) => slot < length)),
  );
  await sequence.keep(indptrOf(slots.map((own) => own.length)), Uint32Array.from(slots.flat()));
}

it("shows a step the blocks that were chosen, and gives the rest back unharmed", async () => {
  for (const length of [22, 24]) {
    const world = createWorld();
    const rows = numRows(world.cache.layout.shape);
    // Another choice for each row; the block of the new token comes without being named.
    const last = Math.ceil((length + 1) / 4) - 1;
    const chosen = [[0], [1, 3], [0, 1, 2, 3, 4], []];
    let step = 0;
    const policy = reading((row, batch) => {
      expect(batch.nextPositions[0]).toBe(length + step);
      return step === 0 ? chosen[row]! : Array.from({ length: last + 1 }, (_, block) => block);
    });
    const runner = await createRunner(world);
    const never = { prefill: false, pressure: false };
    const plain = planOf(testPolicy({ needs: [window], trigger: never }));
    const [partly, kept, whole] = [planOf(policy), {}, plain].map((plan) => runner.open(plan)) as [
      SequenceRunner,
      SequenceRunner,
      SequenceRunner,
    ];
    for (const sequence of [partly, kept, whole]) await sequence.prefill(promptOf(1, length));
    await keepBlocks(
      kept,
      length,
      Array.from({ length: rows }, (_, row) => [...new Set([...chosen[row]!, last])]),
    );
    expect(await partly.feed([7])).toEqual(await kept.feed([7]));
    expect(partly.stats().lengths).toEqual(new Uint32Array(rows).fill(length + 1));
    const full = await whole.feed([7, 9]);
    step = 1;
    expect(await partly.feed([9])).toEqual(full.subarray(61));
    const [a, b] = [partly, whole].map(({ slot }) => world.cache.exportSequence(slot));
    expect(a).toEqual(b);
  }
});

it("swaps such sequences out, for feeding them again would read everything", async () => {
  const policy = reading((row, batch) => [row % 2, Math.floor(batch.nextPositions[0]! / 8)]);
  const requests = [1, 2, 3].map((seed) => ({
    prompt: promptOf(seed, 20),
    maxTokens: 40,
    plan: planOf(policy),
  }));
  const { engine, world } = await setUp({ numBlocks: 90, scheduler: { watermark: 0 } });
  const results = await Promise.all(requests.map((request) => engine.generate(request).result));
  expect(engine.stats().preemptions.swap).toBeGreaterThan(0);
  for (const [i, { tokenIds, kv }] of results.entries()) {
    expect(kv.tokensKept).toBe(59);
    expect([...tokenIds]).toEqual(await alone(requests[i]!));
  }
  expect(world.numHeldBlocks()).toBe(0);
  const everything = { ...requests[0]!, plan: {} };
  expect(await alone(everything)).not.toEqual([...results[0]!.tokenIds]);
});
