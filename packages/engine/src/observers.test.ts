import { describe, expect, it } from "vitest";
import { createEngine } from "./engine.ts";
import { createRunner } from "./runner.ts";
import { alone, setUp } from "./test-engine.ts";
import { testObserver } from "./test-observer.ts";
import { createWorld, promptOf, testPlan, testPolicy } from "./test-world.ts";

const signals = ["chunkQueries", "queryStatistics", "hidden", "headOutputs"] as const;
const everything = [
  { kind: "chunkQueries" },
  { kind: "queryStatistics", skip: 0 },
  { kind: "hidden" },
  { kind: "headOutputs" },
] as const;
const decoding = { prefill: true, interval: 6, pressure: false };

// The test observer throws where a token comes twice, out of order or with other numbers than the
// fake model's, and the test scorer where one is missing when it scores.
describe("observers", () => {
  it("see every token once, in order, over chunks, sequences and compressions", async () => {
    const { engine } = await setUp({ signals, scheduler: { maxBatchTokens: 16 } });
    const plan = testPlan(14, { needs: everything, trigger: decoding });
    const requests = [1, 2, 3].map((seed) => ({
      prompt: promptOf(seed, 11 * seed),
      maxTokens: 20,
      plan,
    }));
    const results = await Promise.all(requests.map((request) => engine.generate(request).result));
    for (const [i, { tokenIds, kv }] of results.entries()) {
      expect(kv.compressions).toBe(4);
      expect([...tokenIds]).toEqual(await alone(requests[i]!, { signals }));
    }
  });

  it("begin again with a sequence that is fed again, and wait for one that is swapped", async () => {
    for (const [by, trigger] of [
      ["recompute", { prefill: false, interval: 50, pressure: false }],
      ["swap", { prefill: true, interval: 8, pressure: false }],
    ] as const) {
      const plan = testPlan(24, { needs: everything, trigger });
      const { engine } = await setUp({ signals, numBlocks: 90, scheduler: { watermark: 0 } });
      const requests = [1, 2, 3].map((seed) => ({
        prompt: promptOf(seed, by === "swap" ? 26 : 20),
        maxTokens: 52,
        plan,
      }));
      const results = await Promise.all(requests.map((request) => engine.generate(request).result));
      expect(engine.stats().preemptions[by]).toBeGreaterThan(0);
      for (const [i, { tokenIds }] of results.entries())
        expect([...tokenIds]).toEqual(await alone(requests[i]!, { signals }));
    }
  });

  it("follow a session to its next turn, and back to where that one differs", async () => {
    const { engine } = await setUp({ signals });
    const plan = testPlan(30, { needs: everything });
    const session = engine.openSession();
    let prompt = promptOf(1, 20);
    for (const cut of [0, 0, 3]) {
      const { tokenIds, kv } = await engine.generate({ prompt, maxTokens: 5, plan, session })
        .result;
      expect(kv.compressions).toBeGreaterThan(0);
      const all = [...prompt, ...tokenIds];
      prompt = [...all.slice(0, all.length - cut), 7, 8, 9];
    }
    const result = await engine.generate({ prompt, maxTokens: 5, plan, session }).result;
    expect(result.tokenIds).toHaveLength(5);
  });

  it("cost nothing where no compression will ask for them", async () => {
    const { engine, world } = await setUp({ signals });
    await engine.generate({ prompt: promptOf(1, 20), maxTokens: 9, plan: testPlan(8) }).result;
    expect(world.tapped).toEqual([]);
    const plan = testPlan(8, { needs: everything });
    await engine.generate({ prompt: promptOf(2, 20), maxTokens: 9, plan }).result;
    expect(world.tapped).toEqual([20]);
  });

  it("are refused where the engine was not created for their signals", async () => {
    const { engine } = await setUp({ signals: ["chunkQueries"] });
    const plan = testPlan(8, { needs: [{ kind: "chunkQueries" }, { kind: "hidden" }] });
    expect(() => engine.generate({ prompt: [1, 2], plan })).toThrow(
      expect.objectContaining({
        code: "missing-signal",
        value: "hidden",
        remedy: 'Create the engine with signals: ["chunkQueries","hidden"].',
      }),
    );
    const world = createWorld();
    const backend = { ...world.backend, name: "blind", signals: ["windowQueries"] as const };
    await expect(createEngine({ ...world, backend, signals: ["hidden"] })).rejects.toMatchObject({
      code: "missing-signal",
      value: "hidden",
    });
  });

  it("are refused where the graph hides what they are read from", async () => {
    const world = createWorld();
    const plan = testPlan(8, { needs: [{ kind: "outputWeight" }] });
    const hidden = { ...world.model, graph: { ...world.model.graph, nodes: [] } };
    const engine = await createEngine({ ...world, model: hidden });
    expect(() => engine.generate({ prompt: [1, 2], plan })).toThrow(
      "needs the signal outputWeight",
    );
    const open = await createEngine({ ...createWorld() });
    await open.generate({ prompt: [1, 2], maxTokens: 1, plan }).result;
  });

  it("share no prefixes", async () => {
    const { engine } = await setUp({ signals, prefixCache: true });
    const plan = testPlan(40, { needs: everything });
    const request = { prompt: promptOf(1, 30), maxTokens: 2, plan };
    for (let i = 0; i < 2; i++)
      expect((await engine.generate(request).result).usage.cachedTokens).toBe(0);
    expect(engine.explain(plan).sharesPrefixes).toBe(false);
  });

  it("fail their own sequence only", async () => {
    const policy = testPolicy({ needs: everything });
    const broken = {
      ...policy,
      scorer: {
        ...policy.scorer,
        createObserver: () => ({
          ...testObserver([]),
          observe: () => {
            throw new Error("broken observer");
          },
        }),
      },
    };
    const { engine } = await setUp({ signals });
    const failing = engine.generate({
      prompt: promptOf(1, 20),
      plan: { eviction: { policy: broken, target: { tokens: 8 } } },
    });
    const plan = testPlan(8, { needs: everything });
    const going = engine.generate({ prompt: promptOf(2, 20), maxTokens: 4, plan });
    await expect(failing.result).rejects.toThrow("broken observer");
    expect((await going.result).tokenIds).toHaveLength(4);
    expect(engine.stats().running).toBe(0);
  });

  it("cannot go on where a transform renumbers positions", async () => {
    const { engine } = await setUp({ signals });
    const transform = { name: "renumber", apply: () => {}, nextPosition: (kept: number) => kept };
    const policy = { ...testPolicy({ needs: everything, trigger: decoding }), transform };
    const plan = { eviction: { policy, target: { tokens: 8 } } };
    expect(() => engine.explain(plan)).toThrow("renumbers positions");
  });
});

describe("replay", () => {
  const passes = ({ tokenIds }: { tokenIds: Int32Array }) => [
    { tokenIds: tokenIds.slice(0, 25), start: 0, end: 25 },
    { tokenIds: tokenIds.slice(25), start: 25, end: 40 },
  ];
  const window = { kind: "windowQueries", window: 4 } as const;
  const needs = [{ kind: "chunkQueries" }, window, { kind: "replay", passes }] as const;

  it("leaves the cache as it was, to the last byte", async () => {
    const world = createWorld();
    const parts: number[] = [];
    let atScoring: Uint8Array | undefined;
    const policy = testPolicy({ needs });
    const watching = {
      ...policy,
      scorer: {
        ...policy.scorer,
        createObserver: () => {
          const observer = testObserver(needs);
          return {
            ...observer,
            replay: (...given: Parameters<NonNullable<typeof observer.replay>>) => {
              parts.push(given[2].tokenIds.length);
              observer.replay!(...given);
            },
          };
        },
        score: (...given: Parameters<typeof policy.scorer.score>) => {
          atScoring = world.cache.exportSequence(given[1].sequences[0]!);
          policy.scorer.score(...given);
        },
      },
    };
    const runner = await createRunner({ ...world, maxBatchTokens: 16, signals: ["chunkQueries"] });
    const sequence = runner.open({ eviction: { policy: watching, target: { tokens: 10 } } });
    await sequence.prefill(promptOf(1, 40));
    const before = world.cache.exportSequence(sequence.slot);
    const { residentBytes } = world.cache.stats();
    await sequence.compress();
    expect(parts).toEqual([16, 9, 15]);
    expect(atScoring).toEqual(before);
    expect(world.cache.stats().residentBytes).toBeLessThan(residentBytes);
    expect(world.cache.stats().arenas[0]!.reservedBlocks).toBe(0);
  });

  it("shows nothing before there is room for all of a pass", async () => {
    // Room for the prompt's 40 blocks, not for the 28 more of the longest pass.
    const world = createWorld({ numBlocks: 60 });
    const runner = await createRunner({ ...world, signals: ["chunkQueries"] });
    const sequence = runner.open(testPlan(10, { needs }));
    await sequence.prefill(promptOf(1, 40));
    const before = world.cache.exportSequence(sequence.slot);
    await expect(sequence.compress()).rejects.toMatchObject({ code: "out-of-blocks" });
    expect(world.cache.exportSequence(sequence.slot)).toEqual(before);
  });

  it("lets a profiler beside the plan see everything", async () => {
    const world = createWorld();
    const runner = await createRunner({ ...world, maxBatchTokens: 16, signals });
    const observer = testObserver(everything);
    const sequence = runner.open({}, { observer });
    await sequence.prefill(promptOf(1, 40));
    await sequence.greedy(3);
    expect(observer.seen).toHaveLength(42);
  });
});
