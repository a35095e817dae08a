import { expect, it } from "vitest";
import { createEngine } from "./engine.ts";
import { createWorld, promptOf, testPlan } from "./test-world.ts";
import type { TraceEvent } from "./trace.ts";

it("says what a plan does, in numbers and in words", async () => {
  const engine = await createEngine(createWorld());
  const needs = [{ kind: "windowQueries", window: 4 }] as const;
  const trigger = { prefill: true, interval: 9, pressure: true };
  const explanation = engine.explain(testPlan(100, { needs, trigger }), 400);
  // 4 rows × 2 numbers × 2 sides × 4 bytes.
  expect(explanation).toMatchObject({
    policy: "test",
    signals: ["windowQueries"],
    sharesPrefixes: true,
    keptTokens: 100,
    bytesBefore: 400 * 64,
    bytesAfter: 100 * 64,
  });
  expect(explanation.moments).toHaveLength(3);
  expect(explanation.text).toContain("keeps 100.0 per row: 25600 bytes become 6400");
  expect(engine.explain({}, 400)).toMatchObject({ policy: undefined, keptTokens: 400 });
  const sums = [{ kind: "attentionSums", power: 1, phase: "all" }] as const;
  expect(engine.explain(testPlan(100, { needs: sums })).sharesPrefixes).toBe(false);
  expect(() => engine.explain(testPlan(1))).toThrow("protects");
  const codec = {
    name: "int4",
    key: () => ({ dtype: "int4", width: 2, metaBytes: 4 }) as const,
    value: () => ({ dtype: "f32", width: 2, metaBytes: 0 }) as const,
  };
  expect(() => engine.explain({ codec })).toThrow("does not store layer 0 as codec int4");
});

it("traces what was kept where, in lines that JSON can carry", async () => {
  const events: TraceEvent[] = [];
  const trace = { positions: true, sink: (event: TraceEvent) => void events.push(event) };
  const engine = await createEngine({ ...createWorld(), trace });
  await engine.generate({ prompt: promptOf(1, 20), maxTokens: 3, plan: testPlan(6) }).result;
  expect(events.map(({ type }) => type).join(" ")).toBe(
    "start queue admit step compress step step finish",
  );
  expect(JSON.parse(JSON.stringify(events))).toEqual(events);
  const compress = events.find((event) => event.type === "compress")!;
  expect(compress).toMatchObject({ tokens: 20, phase: "prefill", kept: [6, 6, 6, 6] });
  for (const row of compress.positions!) {
    expect(row).toHaveLength(6);
    // One sink and two recent tokens are protected.
    expect(row).toEqual(expect.arrayContaining([0, 18, 19]));
  }
  const times = events.map(({ time }) => time);
  expect(times).toEqual([...times].sort((a, b) => a - b));
});
