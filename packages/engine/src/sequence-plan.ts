import {
  type BudgetTarget,
  type CacheManager,
  type CachePlan,
  type EvictionPolicy,
  KvCacheError,
  planFingerprint,
  type Signal,
  type SignalKind,
  signalFlag,
  signalsOf,
  validatePlan,
} from "@kvcache/core";

/** A cache plan, checked, with everything the engine derives from it once. */
export interface SequencePlan {
  readonly plan: CachePlan;
  readonly policy: EvictionPolicy | undefined;
  readonly target: BudgetTarget | undefined;
  readonly fingerprint: string;
  /** Bits of `signalFlag` while prompt tokens are fed, and while generated ones are. */
  readonly prefillFlags: number;
  readonly decodeFlags: number;
  /** Queries closer than this to a key add nothing to its attention sums. */
  readonly attentionBuffer: number;
  /** Queries that the scorer must have seen when it runs. */
  readonly window: number;
  readonly replay: Extract<Signal, { kind: "replay" }> | undefined;
  /** Attention sums belong to one sequence, so blocks that carry them are never shared. */
  readonly sharesBlocks: boolean;
}

/** Signals that a sequence must have gathered over its whole prompt. */
const perSequence: readonly SignalKind[] = [
  "attentionSums",
  "queryStatistics",
  "chunkQueries",
  "hidden",
  "replay",
];

/**
 * Checks a plan against the cache and the signals of its backend. Throws `invalid-plan` or
 * `missing-signal` with the reason.
 */
export function sequencePlan(
  plan: CachePlan,
  cache: CacheManager,
  signals: readonly SignalKind[],
): SequencePlan {
  const { shape } = cache.layout;
  const windowSize = cache.host?.windowSize ?? Number.POSITIVE_INFINITY;
  const checked = validatePlan(plan, { shape, signals, windowSize });
  checkStorage(checked, cache);
  const policy = checked.eviction?.policy;
  let prefillFlags = 0;
  let decodeFlags = 0;
  let attentionBuffer: number | undefined;
  let window = 0;
  let replay: SequencePlan["replay"];
  const needs = policy ? signalsOf(policy) : [];
  for (const signal of needs) {
    if (signal.kind === "windowQueries") {
      window = Math.max(window, signal.window);
      prefillFlags |= signalFlag.windowQueries;
      decodeFlags |= signalFlag.windowQueries;
    } else if (signal.kind === "attentionSums") {
      const flag = signal.power === 1 ? signalFlag.sumAttention : signalFlag.sumSquaredAttention;
      if (signal.phase === "all") prefillFlags |= flag;
      decodeFlags |= flag;
      const buffer = signal.buffer ?? 0;
      if (attentionBuffer !== undefined && attentionBuffer !== buffer)
        throw new KvCacheError(
          "invalid-plan",
          `Policy ${policy!.name} asks for attention sums with buffers ${attentionBuffer} and ${buffer}.`,
          { value: needs, remedy: "Give all its parts the same buffer." },
        );
      attentionBuffer = buffer;
    } else if (signal.kind === "replay") replay = signal;
  }
  if (policy?.transform?.nextPosition) checkRenumbering(policy, window, cache);
  return Object.freeze({
    plan: checked,
    policy,
    target: checked.eviction?.target,
    fingerprint: planFingerprint(checked),
    prefillFlags,
    decodeFlags,
    attentionBuffer: attentionBuffer ?? 0,
    window,
    replay,
    sharesBlocks: !needs.some((signal) => perSequence.includes(signal.kind)),
  });
}

/** Window queries are found by position, so what they are at must not change while they are needed. */
function checkRenumbering(policy: EvictionPolicy, window: number, cache: CacheManager): void {
  const { interval, pressure } = policy.trigger;
  if (!cache.host)
    throw new KvCacheError(
      "unsupported",
      `Policy ${policy.name} renumbers positions, which this cache on a device cannot do.`,
      { value: policy.transform?.name },
    );
  if (window > 0 && (interval !== undefined || pressure))
    throw new KvCacheError(
      "invalid-plan",
      `Policy ${policy.name} renumbers positions and observes queries again while decoding.`,
      { value: policy.trigger, remedy: "Compress at the end of the prefill only." },
    );
}

/** Codec and layer map shape the cache itself: a request can only ask for what the cache has. */
function checkStorage({ codec, layerMap }: CachePlan, cache: CacheManager): void {
  const { layout } = cache;
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  if (layerMap && !same(layerMap, layout.layerMap))
    throw new KvCacheError("invalid-plan", "The plan's layer map is not the cache's.", {
      value: layerMap,
      remedy: "Create the cache with this layer map, or leave it out of the plan.",
    });
  for (let layer = 0; codec && layer < layout.shape.numLayers; layer++) {
    const arena = layout.arenas[layout.arenaOfLayer[layer]!]!;
    if (
      !same(codec.key(layer, layout.shape), arena.key) ||
      !same(codec.value(layer, layout.shape), arena.value)
    )
      throw new KvCacheError(
        "invalid-plan",
        `The cache does not store layer ${layer} as codec ${codec.name} does.`,
        {
          value: codec.name,
          remedy: "Create the cache with this codec, or leave it out of the plan.",
        },
      );
  }
}
