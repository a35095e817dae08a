import { expect, test } from "vitest";
import { codeOf } from "./__fixtures__/small-cache.ts";
import { createBlockPool } from "./block-pool.ts";

test("blocks are handed out once, lowest first, until none is left", () => {
  const pool = createBlockPool(40);
  expect(Array.from({ length: 40 }, () => pool.allocate())).toEqual([...Array(40).keys()]);
  expect(pool.allocate()).toBe(-1);
  pool.release(17);
  expect([pool.numFree, pool.allocate(), pool.numFree]).toEqual([1, 17, 0]);
});

test("a block is free when its last holder leaves, and reclaimable while only entries hold it", () => {
  const pool = createBlockPool(2);
  const block = pool.allocate();
  expect([pool.users(block), pool.isExclusive(block)]).toEqual([1, true]);
  pool.retain(block);
  pool.cache(block);
  pool.cache(block);
  expect([pool.users(block), pool.isExclusive(block), pool.numReclaimable]).toEqual([2, false, 0]);
  pool.release(block);
  pool.release(block);
  expect([pool.users(block), pool.numReclaimable, pool.numFree]).toEqual([0, 1, 1]);
  pool.retain(block);
  expect([pool.numReclaimable, pool.isExclusive(block)]).toEqual([0, false]);
  pool.release(block);
  pool.uncache(block);
  expect([pool.numReclaimable, pool.numFree]).toEqual([1, 1]);
  pool.uncache(block);
  expect([pool.numReclaimable, pool.numFree]).toEqual([0, 2]);
});

test("misuse is an internal error, and the neighbours of a block stay as they are", () => {
  const pool = createBlockPool(33);
  const block = pool.allocate();
  pool.release(block);
  for (const misuse of [pool.release, pool.retain, pool.cache, pool.uncache])
    expect(codeOf(() => misuse.call(pool, block))).toBe("internal");
  const held = Array.from({ length: 33 }, () => pool.allocate());
  pool.release(held[16]!);
  expect(codeOf(() => pool.release(held[16]!))).toBe("internal");
  for (const other of held) if (other !== held[16]) expect(pool.isExclusive(other)).toBe(true);
  expect(codeOf(() => createBlockPool(0))).toBe("invalid-argument");
});

test("counts do not overflow into each other", () => {
  const pool = createBlockPool(1);
  const block = pool.allocate();
  for (let i = 1; i < 65535; i++) pool.retain(block);
  for (let i = 0; i < 65535; i++) pool.cache(block);
  expect(pool.users(block)).toBe(65535);
  expect(codeOf(() => pool.retain(block))).toBe("internal");
  expect(codeOf(() => pool.cache(block))).toBe("internal");
  for (let i = 0; i < 65535; i++) pool.release(block);
  expect([pool.users(block), pool.numReclaimable]).toEqual([0, 1]);
});

test("a watcher hears when blocks are taken, rest, are used again and free", () => {
  const heard: string[] = [];
  const say = (what: string) => (block: number) => void heard.push(`${what} ${block}`);
  const pool = createBlockPool(2, {
    taken: say("taken"),
    rested: say("rested"),
    reused: say("reused"),
    freed: say("freed"),
  });
  const [first, second] = [pool.allocate(), pool.allocate()];
  pool.release(second);
  pool.cache(first);
  pool.retain(first);
  pool.release(first);
  pool.release(first);
  pool.retain(first);
  pool.uncache(first);
  expect([pool.isFree(first), pool.isFree(second)]).toEqual([false, true]);
  pool.release(first);
  const expected = ["taken 0", "taken 1", "freed 1", "rested 0", "reused 0", "freed 0"];
  expect(heard).toEqual(expected);
});
