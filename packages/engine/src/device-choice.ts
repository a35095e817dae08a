import type { CacheManager } from "@kvcache/core";
import type { Choice } from "./choice.ts";
import type { Runtime } from "./runtime.ts";
import type { Sequence } from "./sequence.ts";
import { sumFlags } from "./sequence-plan.ts";
import type { Feed } from "./step-assembler.ts";

/** A sequence in a step, with what it feeds. */
export interface Fed {
  readonly sequence: Sequence;
  readonly choice: Choice | undefined;
  /** Whether a token follows. */
  readonly isLast: boolean;
  readonly feed: Feed;
}

/** Steps that run one behind the other, of which the host sees the chosen tokens only. */
export interface DeviceSteps {
  readonly numSteps: number;
  /** i32 [numSteps, feeds that a token follows]. */
  run(): Promise<Int32Array>;
}

/**
 * At most `limit` steps that begin with this one; undefined where the backend does not choose tokens
 * as all of them ask, or somebody wants to see logits.
 */
export function deviceSteps(
  { choose, draw, cache }: Runtime,
  fed: readonly Fed[],
  limit: number,
): DeviceSteps | undefined {
  if (!(choose || draw) || !fed.every(needsNoLogits)) return undefined;
  const choices = fed.flatMap(({ isLast, choice }) => (isLast ? choice! : []));
  if (choices.length === 0) return undefined;
  const temperatures = choices.map(({ plainTemperature }) => plainTemperature!);
  if (choose && temperatures.every((temperature) => temperature === 0)) {
    const numSteps = stepsTogether(cache, fed, limit);
    const feedsAt = (index: number) => {
      if (index > 0) for (const { feed } of fed) cache.append(feed.slot, 1);
      return fed.map(({ feed }) => (index > 0 ? laterFeed(feed, index) : feed));
    };
    return { numSteps, run: () => choose(numSteps, feedsAt) };
  }
  if (!draw) return undefined;
  const draws = {
    temperatures: Float64Array.from(temperatures),
    randoms: Float64Array.from(choices, (one, i) => (temperatures[i] === 0 ? 0 : one.nextRandom())),
  };
  const feeds = fed.map(({ feed }) => feed);
  return { numSteps: 1, run: () => draw(feeds, draws) };
}

function needsNoLogits({ sequence, choice, isLast, feed }: Fed): boolean {
  if (feed.logits === "all" || feed.watched || feed.reads) return false;
  if (!isLast) return true;
  return sequence.width === 1 && choice?.plainTemperature !== undefined && !choice.captures;
}

/**
 * Steps until somebody must look at their tokens: one unless everybody decodes, up to the first that
 * ends or is compressed, as far as blocks go. Where an answer stops earlier, what was computed behind
 * it is forgotten, so nobody takes part whose cache outlives the answer, or who adds to attention
 * sums.
 */
function stepsTogether(cache: CacheManager, fed: readonly Fed[], limit: number): number {
  let steps = limit;
  for (const { sequence, choice, isLast, feed } of fed) {
    const returns = isLast && feed.count === 1 && !sequence.selectsReads;
    if (!returns || sequence.session || (feed.signalFlags & sumFlags) !== 0) return 1;
    steps = Math.min(steps, choice!.tokensLeft, sequence.tokensToCompression);
  }
  if (steps <= 1) return 1;
  const needed: number[] = [];
  for (const { feed } of fed)
    cache.blocksToAppend(feed.slot, steps - 1).forEach((blocks, arena) => {
      needed[arena] = (needed[arena] ?? 0) + blocks;
    });
  return cache.canTake(needed) ? steps : 1;
}

/** What a sequence feeds `index` steps after `feed`: a token that is not known yet. */
const laterFeed = (feed: Feed, index: number): Feed => ({
  ...feed,
  ids: Int32Array.of(0),
  ropeLengths: Int32Array.of(feed.from + index + 1),
  from: 0,
  position: feed.position + index,
});

/** Takes back what was computed behind the end of an answer. */
export function forgetSurplus(cache: CacheManager, { slot, position }: Sequence): void {
  const { nextPosition } = cache.sequenceStats(slot!);
  if (nextPosition > position) cache.truncate(slot!, position);
}
