import { signalFlag } from "@kvcache/core";
import type { Command } from "./command-queue.ts";
import type { DeviceStep } from "./device-step.ts";
import { splitsOf } from "./record-node.ts";
import type { Scratch } from "./scratch.ts";

/**
 * Commands of passes by the shape of their step. Steps of one shape differ in what memory holds, not
 * in what is done: decoding runs the same commands again, most of the time.
 */
export interface StepPlans {
  /** The commands of a step; `record` makes them where no step of its shape came lately. */
  of(step: DeviceStep, record: () => readonly Command[]): readonly Command[];
}

/** Shapes that are remembered: those of some batches that take turns. */
const mostPlans = 4;
const sums = signalFlag.sumAttention | signalFlag.sumSquaredAttention;

/** Everything of a step that its dispatches depend on. */
function shapeOf(step: DeviceStep, maxBytes: number, bytesPerToken: number): string {
  const { numTokens, numSequences, numLogits, numTiles, signalFlags, longestRow } = step;
  const { numSplits, splitKeys } = splitsOf(step, numTokens * bytesPerToken, maxBytes);
  // Sums of attention are taken of every slot; without them, rows matter by their splits only.
  const longest = signalFlags & sums ? longestRow : 0;
  return [
    ...[numTokens, numSequences, numLogits, numTiles, signalFlags],
    ...[numSplits, splitKeys, longest],
  ].join();
}

/** `bytesPerToken`: of one split's partial results. */
export function createStepPlans(
  scratch: Scratch,
  maxBytes: number,
  bytesPerToken: number,
): StepPlans {
  const plans = new Map<string, readonly Command[]>();
  let version = scratch.version;
  return {
    of(step, record) {
      const shape = shapeOf(step, maxBytes, bytesPerToken);
      // Commands bind memory: where some was replaced, all are void.
      if (scratch.version !== version) plans.clear();
      const known = plans.get(shape);
      const commands = known ?? record();
      plans.delete(shape);
      if (scratch.version !== version) plans.clear();
      version = scratch.version;
      plans.set(shape, commands);
      const [oldest] = plans.keys();
      if (plans.size > mostPlans) plans.delete(oldest!);
      return commands;
    },
  };
}
