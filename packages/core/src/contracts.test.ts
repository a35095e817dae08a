import { describe, expect, it } from "vitest";
import type {
  Backend,
  BackendSession,
  BudgetAllocator,
  CacheLayout,
  CacheManager,
  CachePlan,
  Codec,
  Encoder,
  EntryLayout,
  EvictionPolicy,
  Kernel,
  KvBatch,
  Scorer,
  Selector,
  StepInput,
  Tensor,
  TensorArray,
} from "./index.ts";
import {
  blockBytes,
  cacheLayout,
  definePolicy,
  sequenceTokenBytes,
  validatePlan,
} from "./index.ts";

// Six things that must fit the contracts without changing them. Types do the checking; the few
// expectations keep the sketches honest about numbers.
const shape = { numLayers: 4, numQueryHeads: 8, numKvHeads: 2, headDim: 64 };
const environment = {
  shape,
  signals: ["windowQueries", "attentionSums", "replay"] as const,
  windowSize: 64,
};

describe("contracts carry", () => {
  it("1. a device whose memory is opaque and whose steps are asynchronous", async () => {
    const log: string[] = [];
    const handle = (dtype: Tensor["dtype"], length: number): Tensor => ({ dtype, length });
    const encoder: Encoder = {
      tensor: (dtype, length) => handle(dtype, length),
      upload: (data) => handle("u32", data.length),
      run: (kernel) => void log.push(kernel.name),
      submit: async () => void log.push("submit"),
      read: async (tensor): Promise<TensorArray> => new Uint32Array(tensor.length),
    };
    const session: BackendSession = {
      encoder: () => encoder,
      fallbacks: () => new Map(),
      load: async (graph) => ({
        forward: async (step: StepInput) =>
          new Float32Array(step.logitIndices.length * graph.vocabSize),
        dispose: async () => {},
      }),
      dispose: async () => {},
    };
    const backend: Backend = {
      name: "device",
      description: "sketch",
      signals: ["windowQueries"],
      attach: (_cache: CacheManager) => session,
      dispose: async () => {},
    };
    const kernel: Kernel<{ out: Tensor }> = {
      name: "sketch",
      reference: () => {},
      wgsl: { record: () => {} },
    };
    backend
      .attach({} as CacheManager)
      .encoder()
      .run(kernel, { out: encoder.tensor("f32", 1) });
    await encoder.submit();
    expect(log).toEqual(["sketch", "submit"]);
  });

  it("2. codecs with other bytes per block, keys and values of different width, per layer", () => {
    const entry = (dtype: EntryLayout["dtype"], width: number, metaBytes = 0): EntryLayout => ({
      dtype,
      width,
      metaBytes,
    });
    const codec: Codec = {
      name: "int4-keys-fewer-channels",
      key: (layer) => entry("int4", layer === 0 ? 64 : 40, 8),
      value: () => entry("int8", 64, 4),
    };
    const base = cacheLayout(shape);
    const arenas = [0, 1].map((layer) => ({
      blockSize: 16,
      key: codec.key(layer, shape),
      value: codec.value(layer, shape),
    }));
    const layout: CacheLayout = { ...base, arenas, arenaOfLayer: [0, 1, 1, 1] };
    expect(arenas.map(blockBytes)).toEqual([16 * (32 + 8 + 64 + 4), 16 * (20 + 8 + 64 + 4)]);
    expect(sequenceTokenBytes(layout)).toBe(2 * (108 + 3 * 96));
  });

  it("3. layers that read another layer's blocks", () => {
    const plan: CachePlan = { layerMap: [0, 0, 2, 2] };
    expect(validatePlan(plan, environment).layerMap).toEqual([0, 0, 2, 2]);
    expect(sequenceTokenBytes({ ...cacheLayout(shape), layerMap: [0, 0, 2, 2] })).toBe(2 * 2 * 512);
    expect(() => validatePlan({ layerMap: [1, 0, 2, 3] }, environment)).toThrow("does not own");
  });

  const scorer = (needs: Scorer["needs"]): Scorer => ({ name: "sketch", needs, score: () => {} });
  const selector: Selector = {
    name: "sketch",
    select: (encoder, batch) => ({
      indptr: encoder.tensor("u32", batch.numRows + 1),
      indices: encoder.tensor("u32", batch.totalSlots),
    }),
  };
  const policy = (
    name: string,
    budget: BudgetAllocator,
    needs: Scorer["needs"] = [],
  ): EvictionPolicy =>
    definePolicy({
      name,
      paper: "sketch",
      scorer: scorer(needs),
      budget,
      selector,
      trigger: { prefill: true, pressure: false },
      protect: { sinks: 0, recent: 0 },
      queryAware: false,
      options: {},
    });
  const everything: BudgetAllocator = {
    name: "all",
    needs: [],
    resolve: ({ lengths }) => lengths.length,
    allocate: () => {},
  };

  it("4. a budget that sees the scores of all layers before any layer is cut", () => {
    const budget: BudgetAllocator = {
      name: "global",
      needs: [],
      resolve: ({ lengths }) => lengths.reduce((total, length) => total + length, 0),
      // batch.layers holds every layer; scores is one table over all rows.
      allocate: (encoder, { batch, scores }, counts) =>
        encoder.run<{ scores: Tensor; counts: Tensor; batch: KvBatch }>(
          { name: "global-threshold", reference: () => {} },
          { scores, counts, batch },
        ),
    };
    expect(policy("global", budget).budget.name).toBe("global");
  });

  it("5. a policy that runs an extra forward pass", () => {
    const replaying = policy("replaying", everything, [
      {
        kind: "replay",
        passes: ({ tokenIds, tokenize }) => [
          {
            tokenIds: Int32Array.from([...tokenize("Repeat: "), ...tokenIds]),
            start: 0,
            end: tokenIds.length,
          },
        ],
      },
    ]);
    const plan = { eviction: { policy: replaying, target: { ratio: 0.5 } } };
    expect(() => validatePlan(plan, environment)).not.toThrow();
    expect(() => validatePlan(plan, { ...environment, signals: [] })).toThrow(
      "needs the signal replay",
    );
  });

  it("6. sequences with different policies in one batch of a step", () => {
    const plans = new Map<number, CachePlan>([
      [0, { eviction: { policy: policy("a", everything), target: { ratio: 0.5 } } }],
      [1, { eviction: { policy: policy("b", everything), target: { tokens: 64 } } }],
      [2, {}],
    ]);
    // One forward pass; flags say per sequence which signals it collects; events run policy by policy.
    const step: Pick<StepInput, "sequences" | "signalFlags"> = {
      sequences: Int32Array.of(0, 1, 2),
      signalFlags: Int32Array.of(1, 4, 0),
    };
    expect(step.sequences.length).toBe(plans.size);
  });
});
