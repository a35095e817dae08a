import { signalFlag } from "@kvcache/core";
import { expect, it } from "vitest";
import type { Command } from "./command-queue.ts";
import type { DeviceStep } from "./device-step.ts";
import { createStepPlans } from "./step-plans.ts";

const step = (changes: Partial<DeviceStep> = {}): DeviceStep => ({
  ...({ memory: {}, sections: {}, ropes: {}, ropeAt: [] } as unknown as DeviceStep),
  ...{ numTokens: 1, numSequences: 1, numLogits: 1, numTiles: 1, signalFlags: 0 },
  ...{ longestRow: 100, keysPerLayer: 200 },
  ...changes,
});

/** Plans whose scratch memory is replaced by hand; `ask` says whether commands were made anew. */
function plans() {
  const memory = { version: 0 };
  const scratch = {
    get version() {
      return memory.version;
    },
    get: () => {
      throw new Error("A plan asks for no memory.");
    },
    release: () => {},
  };
  const made = createStepPlans(scratch, 2 ** 27, 64);
  const ask = (wanted: DeviceStep, growing = false) => {
    let recorded = false;
    made.of(wanted, () => {
      recorded = true;
      if (growing) memory.version++;
      return [{} as Command];
    });
    return recorded ? "recorded" : "repeated";
  };
  return { memory, ask };
}

it("repeats the commands of steps of the same shape", () => {
  const { ask } = plans();
  expect(ask(step())).toBe("recorded");
  expect(ask(step({ longestRow: 101, keysPerLayer: 202 }))).toBe("repeated");
  expect(ask(step({ longestRow: 1000 })), "rows cut into more parts").toBe("recorded");
  expect(ask(step({ numTokens: 2 }))).toBe("recorded");
  expect(ask(step())).toBe("repeated");
});

it("counts the length of rows to the shape where sums of attention are wanted", () => {
  const { ask } = plans();
  const signalFlags = signalFlag.sumAttention;
  expect(ask(step({ signalFlags }))).toBe("recorded");
  expect(ask(step({ signalFlags, longestRow: 101 }))).toBe("recorded");
  expect(ask(step({ signalFlags, longestRow: 101 }))).toBe("repeated");
});

it("makes commands anew once their memory was replaced", () => {
  const { memory, ask } = plans();
  expect(ask(step())).toBe("recorded");
  expect(ask(step({ numTokens: 9 }), true), "needs larger memory itself").toBe("recorded");
  expect(ask(step({ numTokens: 9 }))).toBe("repeated");
  expect(ask(step())).toBe("recorded");
  memory.version++;
  expect(ask(step())).toBe("recorded");
});

it("forgets the shape that was away for longest", () => {
  const { ask } = plans();
  for (const numTokens of [1, 2, 3, 4, 1, 5]) ask(step({ numTokens }));
  expect(ask(step({ numTokens: 1 }))).toBe("repeated");
  expect(ask(step({ numTokens: 2 }))).toBe("recorded");
});
