import { checkPooling } from "../../src/pooling.ts";
import { checkWindow, logitScale } from "../../src/window-weights.ts";
import type { WindowScoreParams } from "./window-score.ts";

export type WindowSettings = ReturnType<typeof windowSettings>;

/**
 * Fills in defaults and checks what the kernel would otherwise get wrong silently; `windowSize` is
 * the number of queries that the cache keeps.
 */
export function windowSettings(params: WindowScoreParams, windowSize?: number) {
  const { batch, window, pooling } = params;
  checkWindow(batch, window, windowSize);
  if (pooling) checkPooling(pooling);
  return {
    power: 1 as 1 | 2,
    buffer: 0,
    poolFirst: false,
    allHeads: false,
    slab: 0,
    excludeWindow: false,
    scale: logitScale(batch),
    ...params,
  };
}
