import {
  type BudgetTarget,
  type CacheManager,
  type CachePlan,
  type EvictionPolicy,
  KvCacheError,
  type Observer,
  planFingerprint,
  type Signal,
  type SignalKind,
  signalFlag,
  signalsOf,
  type Trigger,
  validatePlan,
} from "@kvcache/core";
import { chunkSignals } from "./observation.ts";

/** A cache plan, checked, with everything the engine derives from it once. */
export interface SequencePlan {
  readonly plan: CachePlan;
  readonly policy: EvictionPolicy | undefined;
  readonly target: BudgetTarget | undefined;
  /** When the engine compresses by itself; never where nothing could be evicted. */
  readonly trigger: Partial<Trigger>;
  readonly fingerprint: string;
  /** Bits of `signalFlag` while prompt tokens are fed, and while generated ones are. */
  readonly prefillFlags: number;
  readonly decodeFlags: number;
  /** Queries closer than this to a key add nothing to its attention sums. */
  readonly attentionBuffer: number;
  /** Queries that the scorer must have seen when it runs. */
  readonly window: number;
  readonly replay: Extract<Signal, { kind: "replay" }> | undefined;
  /** What the scorer's observers see of each pass. */
  readonly chunkSignals: ReadonlySet<SignalKind>;
  /** Begins to observe a sequence; undefined where the scorer gathers nothing. */
  readonly createObserver: (() => Observer) | undefined;
  /** Powers of attention that the passes add up in the blocks themselves, and while what is fed. */
  readonly sums:
    | { readonly powers: readonly (1 | 2)[]; readonly phase: "all" | "decode" }
    | undefined;
  /** Nothing is gathered beside keys and values, so that sequences may share blocks at any time. */
  readonly sharesBlocks: boolean;
  /** Nothing is gathered from a prompt, so that it may start from blocks that others filled. */
  readonly sharesPrompt: boolean;
}

/** Signals that a sequence must have gathered over its whole prompt. */
const ofWholePrompt: readonly SignalKind[] = [
  "queryStatistics",
  "chunkQueries",
  "hidden",
  "headOutputs",
  "replay",
];

/** Flags of what a pass adds to the blocks themselves. */
export const sumFlags = signalFlag.sumAttention | signalFlag.sumSquaredAttention;

/** What a plan can ask for, and of which model. */
export interface PlanSources {
  /** Kinds that the backend can give. */
  readonly backend: readonly SignalKind[];
  /** Chunk signals that the model was loaded with. */
  readonly tapped: ReadonlySet<SignalKind>;
  /** The model's, which profiles and trained weights must belong to. */
  readonly fingerprint: string;
}

/**
 * Checks a plan against the cache and the signals of its backend. Throws `invalid-plan` or
 * `missing-signal` with the reason.
 */
export function sequencePlan(
  plan: CachePlan,
  cache: CacheManager,
  sources: PlanSources,
): SequencePlan {
  const { shape } = cache.layout;
  if (plan.eviction) checkTapped(plan.eviction.policy, sources);
  const signals = sources.backend;
  const { windowSize } = cache;
  const checked = validatePlan(plan, {
    shape,
    signals,
    windowSize,
    fingerprint: sources.fingerprint,
  });
  checkStorage(checked, cache);
  const policy = checked.eviction?.policy;
  let prefillFlags = 0;
  let decodeFlags = 0;
  let attentionBuffer: number | undefined;
  let window = 0;
  let replay: SequencePlan["replay"];
  const powers = new Set<1 | 2>();
  const needs = policy ? signalsOf(policy) : [];
  const scorer = policy?.scorer;
  for (const signal of needs) {
    if (signal.kind === "windowQueries") {
      window = Math.max(window, signal.window);
      prefillFlags |= signalFlag.windowQueries;
      decodeFlags |= signalFlag.windowQueries;
    } else if (signal.kind === "attentionSums") {
      const flag = signal.power === 1 ? signalFlag.sumAttention : signalFlag.sumSquaredAttention;
      if (signal.phase === "all") prefillFlags |= flag;
      decodeFlags |= flag;
      powers.add(signal.power);
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
  if (policy?.readSelector && !cache.host)
    throw new KvCacheError(
      "unsupported",
      `Policy ${policy.name} selects the blocks that a step reads, which this cache on a device cannot do.`,
      { value: policy.readSelector.name },
    );
  if (policy?.transform?.nextPosition) checkRenumbering(policy, window);
  const sharesPrompt =
    !scorer?.createObserver &&
    !needs.some(({ kind }) => ofWholePrompt.includes(kind)) &&
    (prefillFlags & sumFlags) === 0;
  return Object.freeze<SequencePlan>({
    plan: checked,
    policy,
    target: checked.eviction?.target,
    trigger: policy && !keepsAll(checked) ? policy.trigger : {},
    fingerprint: planFingerprint(checked),
    prefillFlags,
    decodeFlags,
    attentionBuffer: attentionBuffer ?? 0,
    window,
    replay,
    chunkSignals: new Set(
      needs.map(({ kind }) => kind).filter((kind) => chunkSignals.includes(kind)),
    ),
    createObserver: scorer?.createObserver && (() => scorer.createObserver!(cache.layout)),
    sums:
      powers.size === 0
        ? undefined
        : { powers: [...powers], phase: (prefillFlags & sumFlags) === 0 ? "decode" : "all" },
    sharesBlocks: sharesPrompt && powers.size === 0,
    sharesPrompt,
  });
}

/** Whether the plan's target says that everything stays, as it is. */
function keepsAll({ eviction }: CachePlan): boolean {
  const { policy, target } = eviction!;
  const { budget, transform, readSelector } = policy;
  if (transform || readSelector || !budget.keepsAllAtRatio1) return false;
  return "ratio" in target && target.ratio === 1;
}

/** Chunk signals are there only where the model was loaded to give them out. */
function checkTapped(policy: EvictionPolicy, { backend, tapped }: PlanSources): void {
  const kinds = [...new Set(signalsOf(policy).map(({ kind }) => kind))].filter((kind) =>
    chunkSignals.includes(kind),
  );
  const missing = kinds.find((kind) => backend.includes(kind) && !tapped.has(kind));
  if (missing !== undefined)
    throw new KvCacheError(
      "missing-signal",
      `Policy ${policy.name} needs the signal ${missing}, which this engine was not created to give.`,
      {
        value: missing,
        remedy: `Create the engine with signals: ${JSON.stringify([...new Set([...tapped, ...kinds])])}.`,
      },
    );
}

/**
 * Window queries and what observers gather are found by position, which must not change while they
 * are needed.
 */
function checkRenumbering(policy: EvictionPolicy, window: number): void {
  const { interval, pressure } = policy.trigger;
  if ((window > 0 || policy.scorer.createObserver) && (interval !== undefined || pressure))
    throw new KvCacheError(
      "invalid-plan",
      `Policy ${policy.name} renumbers positions and looks at what it observed again while decoding.`,
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
