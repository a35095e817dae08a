import type { TraceEvent } from "@kvcache/engine";
import { adaKV, kvCompress, snapKV } from "@kvcache/policies";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  type Answer,
  eviction,
  expectSame,
  type SmallEngine,
  smallEngine,
} from "./small-engine.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./webgpu-backend.ts";
import type { WebGpuCache } from "./webgpu-cache.ts";

let device: WebGpuBackend;
beforeAll(async () => {
  device = await createWebGpuBackend();
});
afterAll(() => device.dispose());

const plans = [
  eviction(snapKV({ window: 8 }), 0.5),
  eviction(adaKV({ window: 8 }), 0.4),
  eviction(kvCompress({ interval: 4, protectedWindow: 8 }), 0.5),
  {},
];
/** Eight sequences, every plan twice. */
const planOf = (number: number) => plans[number % plans.length]!;
const maxTokens = 6;
const numbers = [0, 1, 2, 3, 4, 5, 6, 7];

/** Answers, and what each compression event kept, in the order of the events. */
async function observed(work: (small: SmallEngine) => Promise<Answer[]>) {
  const kept: (readonly number[])[][] = [];
  const slots = new Map<number, number>();
  let small: SmallEngine | undefined;
  const sink = (event: TraceEvent) => {
    if (event.type === "admit") slots.set(event.sequence, event.slot);
    if (event.type !== "compress") return;
    const cache = small!.cache as WebGpuCache;
    kept.push(cache.rowPositions(slots.get(event.sequence)!).map((row) => [...row]));
  };
  small = await smallEngine(device, {
    scheduler: { maxBatchTokens: 64, maxStall: Number.POSITIVE_INFINITY },
    trace: { sink },
  });
  const answers = await work(small);
  await small.dispose();
  return { answers, kept };
}

it("gives the same kept sets and tokens twice, and to a batch of 8 what each gets alone", async () => {
  const together = ({ ask }: SmallEngine) =>
    Promise.all(numbers.map((number) => ask(number, planOf(number), maxTokens)));
  const first = await observed(together);
  const second = await observed(together);
  expect(first.kept.length, "compression events").toBeGreaterThan(7);
  expect(second.kept).toEqual(first.kept);
  expect(second.answers).toEqual(first.answers);

  const alone = await observed(async ({ ask }) => {
    const answers: Answer[] = [];
    for (const number of numbers) answers.push(await ask(number, planOf(number), maxTokens));
    return answers;
  });
  let compared = 0;
  alone.answers.forEach((answer, i) => {
    compared += expectSame(first.answers[i]!, answer, `sequence ${i}`);
  });
  expect(compared, "tokens before a near-tie").toBeGreaterThan(20);
});
