/**
 * Cost of the block pool: nanoseconds per operation under random lifetimes at 10^3, 10^5 and 10^7
 * blocks, over those of a bare Uint32Array stack driven by the same operations in the same run.
 */
import { createBlockPool } from "../packages/paged/dist/index.js";

const sizes = [1e3, 1e5, 1e7];
const rounds = 9;
const operations = 2e6;

/** xorshift32: the driver's only other cost, equal on both sides. */
const next = (x) => {
  x ^= x << 13;
  x ^= x >>> 17;
  return x ^ (x << 5);
};

/**
 * Holds about half of the blocks: every step frees a random held block or takes one. Both drivers
 * are the same code around two allocators, apart so that each is compiled for its own.
 */
function drivePool(pool, held, numHeld, count, seed) {
  let x = seed;
  for (let i = 0; i < count; i++) {
    x = next(x);
    if ((x & 1) === 0 ? numHeld > 0 : numHeld === held.length) {
      const at = (x >>> 1) % numHeld;
      pool.release(held[at]);
      held[at] = held[--numHeld];
    } else held[numHeld++] = pool.allocate();
  }
  return numHeld;
}

function driveStack(stack, held, numHeld, count, seed) {
  const { free } = stack;
  let { top } = stack;
  let x = seed;
  for (let i = 0; i < count; i++) {
    x = next(x);
    if ((x & 1) === 0 ? numHeld > 0 : numHeld === held.length) {
      const at = (x >>> 1) % numHeld;
      free[top++] = held[at];
      held[at] = held[--numHeld];
    } else held[numHeld++] = free[--top];
  }
  stack.top = top;
  return numHeld;
}

/** Fills half of `held` and scatters it, so that lifetimes are random from the first operation. */
function prepare(numBlocks, allocate) {
  const held = new Uint32Array(numBlocks);
  const numHeld = numBlocks >>> 1;
  for (let i = 0; i < numHeld; i++) held[i] = allocate();
  let x = 0x9e3779b9 | 0;
  for (let i = numHeld - 1; i > 0; i--) {
    x = next(x);
    const j = (x >>> 1) % (i + 1);
    [held[i], held[j]] = [held[j], held[i]];
  }
  return { held, numHeld };
}

const timed = (fn) => {
  const start = process.hrtime.bigint();
  fn();
  return Number(process.hrtime.bigint() - start) / operations;
};

function measure(numBlocks) {
  const pool = createBlockPool(numBlocks);
  const stack = { free: Uint32Array.from({ length: numBlocks }, (_, i) => i), top: numBlocks };
  const ours = prepare(numBlocks, () => pool.allocate());
  const bare = prepare(numBlocks, () => stack.free[--stack.top]);
  let poolNs = Number.POSITIVE_INFINITY;
  let stackNs = Number.POSITIVE_INFINITY;
  // Round −1 compiles; the minimum of the others is the least disturbed one.
  for (let round = -1; round < rounds; round++) {
    const seed = 12345 + 977 * round;
    const a = timed(() => {
      bare.numHeld = driveStack(stack, bare.held, bare.numHeld, operations, seed);
    });
    const b = timed(() => {
      ours.numHeld = drivePool(pool, ours.held, ours.numHeld, operations, seed);
    });
    if (round < 0) continue;
    stackNs = Math.min(stackNs, a);
    poolNs = Math.min(poolNs, b);
  }
  if (pool.numFree + ours.numHeld !== numBlocks) throw new Error("The pool lost count.");
  return { poolNs, stackNs };
}

/** → ratios.flatness: the worst of the three sizes, pool ÷ bare stack. */
export default async function run({ log = console.log } = {}) {
  const figures = {};
  let flatness = 0;
  for (const numBlocks of sizes) {
    const { poolNs, stackNs } = measure(numBlocks);
    const ratio = poolNs / stackNs;
    flatness = Math.max(flatness, ratio);
    figures[`blocks${numBlocks}`] = { poolNs, stackNs, ratio };
    log(
      `allocator ${numBlocks} blocks: ${poolNs.toFixed(1)} ns, bare stack ${stackNs.toFixed(1)} ns, ratio ${ratio.toFixed(2)}`,
    );
  }
  return { ratios: { flatness }, figures };
}
