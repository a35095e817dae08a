import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  byUrgency,
  firstShort,
  leastUrgent,
  nextToAdmit,
  type Schedulable,
  shareTokens,
} from "./scheduler.ts";

const decode = (arrival: number, priority = 0): Schedulable => ({
  priority,
  arrival,
  pending: 1,
  decoding: true,
});
const prefill = (arrival: number, pending: number, priority = 0): Schedulable => ({
  priority,
  arrival,
  pending,
  decoding: false,
});

const sequences = fc.array(
  fc.record({
    priority: fc.integer({ min: -1, max: 1 }),
    arrival: fc.nat(50),
    pending: fc.integer({ min: 1, max: 300 }),
    decoding: fc.boolean(),
  }),
  { maxLength: 20 },
);

describe("nextToAdmit", () => {
  const waiting = [prefill(5, 400), prefill(6, 30), prefill(7, 20)];

  it("takes the first one while the prompts that run leave room in the step", () => {
    expect(nextToAdmit([], [], 64)).toBeUndefined();
    expect(nextToAdmit(waiting, [], 64)).toBe(waiting[0]);
    expect(nextToAdmit(waiting, [decode(0), prefill(1, 63)], 64)).toBe(waiting[0]);
  });

  it("lets others wait for prompts that fill the step, unless they would be done before", () => {
    expect(nextToAdmit(waiting, [prefill(1, 300), prefill(2, 500)], 64)).toBe(waiting[1]);
    expect(nextToAdmit(waiting, [prefill(1, 25), prefill(2, 500)], 64)).toBe(waiting[2]);
    expect(nextToAdmit(waiting, [prefill(1, 20), prefill(2, 500)], 64)).toBeUndefined();
  });

  it("does not make a higher priority wait for lower ones, nor lower ones pass it", () => {
    const urgent = [prefill(9, 800, 1), ...waiting];
    expect(nextToAdmit(urgent, [prefill(1, 300)], 64)).toBe(urgent[0]);
    expect(nextToAdmit(urgent, [prefill(1, 300, 1)], 64)).toBeUndefined();
  });
});

describe("shareTokens", () => {
  it("feeds decoding sequences first and gives prompts the rest", () => {
    expect(shareTokens([prefill(0, 1000), decode(1), decode(2)], 64)).toEqual([62, 1, 1]);
  });

  it("shares the rest evenly, so that a long prompt does not hold up short ones", () => {
    expect(shareTokens([prefill(0, 1000), prefill(1, 10), prefill(2, 1000)], 64)).toEqual([
      27, 10, 27,
    ]);
  });

  it("serves higher priorities first", () => {
    expect(shareTokens([prefill(0, 50), prefill(1, 50, 1)], 64)).toEqual([14, 50]);
  });

  it("never exceeds budget or wishes, wastes nothing, and feeds everybody it can", () => {
    fc.assert(
      fc.property(sequences, fc.integer({ min: 1, max: 600 }), (given, budget) => {
        const running = given.map((one) => (one.decoding ? { ...one, pending: 1 } : one));
        const tokens = shareTokens(running, budget);
        const total = tokens.reduce((sum, count) => sum + count, 0);
        const wished = running.reduce((sum, { pending }) => sum + pending, 0);
        expect(total).toBe(Math.min(budget, wished));
        tokens.forEach((count, i) => {
          expect(count).toBeGreaterThanOrEqual(0);
          expect(count).toBeLessThanOrEqual(running[i]!.pending);
          if (running[i]!.decoding && running.length <= budget) expect(count).toBe(1);
        });
        // Among prompts of one priority nobody gets less than another unless it wished for less.
        for (const [i, a] of running.entries())
          for (const [j, b] of running.entries()) {
            if (a.decoding || b.decoding || a.priority !== b.priority) continue;
            if (tokens[i]! < a.pending) expect(tokens[j]!).toBeLessThanOrEqual(tokens[i]! + 1);
          }
      }),
    );
  });
});

describe("firstShort", () => {
  it("grants the most urgent first and names the first that gets nothing", () => {
    const [a, b, c] = [decode(2), decode(0), decode(1)];
    expect(firstShort([a!, b!, c!], [5], () => [2])).toBe(a);
    expect(firstShort([a!, b!, c!], [6], () => [2])).toBeUndefined();
  });

  it("takes what it grants from every arena", () => {
    const available = [10, 3];
    expect(firstShort([decode(0), decode(1)], available, () => [4, 2])).toMatchObject({
      arrival: 1,
    });
    expect(available).toEqual([6, 1]);
  });
});

describe("leastUrgent", () => {
  it("is the last in the order of urgency", () => {
    fc.assert(
      fc.property(sequences, (given) => {
        const victim = leastUrgent(given);
        for (const other of given) expect(byUrgency(victim!, other)).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it("prefers low priority over late arrival", () => {
    expect(leastUrgent([decode(9, 1), decode(0, 0), decode(3, 1)])).toMatchObject({ arrival: 0 });
  });
});
