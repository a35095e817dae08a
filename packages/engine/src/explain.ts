import {
  type CachePlan,
  numRows,
  type Signal,
  sequenceTokenBytes,
  signalsOf,
  sum,
} from "@kvcache/core";
import type { Runtime } from "./runtime.ts";

/** What a plan does on this engine. */
export interface Explanation {
  readonly policy: string | undefined;
  readonly paper: string | undefined;
  /** What the forward pass records for it. */
  readonly signals: readonly Signal["kind"][];
  /** When it compresses. */
  readonly moments: readonly string[];
  /** Whether its prompts start from cached prefixes and leave some. */
  readonly sharesPrefixes: boolean;
  readonly promptTokens: number;
  /** Tokens that a prompt of that length keeps per row on average, at most. */
  readonly keptTokens: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Kernels that ran on the host so far for want of an implementation here, by name. */
  readonly fallbacks: ReadonlyMap<string, number>;
  /** The same for people, one sentence a line. */
  readonly text: string;
}

/** Explains a plan for a prompt of `promptTokens` tokens. Throws what checking the plan throws. */
export function explainPlan(plan: CachePlan, runtime: Runtime, promptTokens = 4096): Explanation {
  const { cache, backend } = runtime;
  const { policy, target, sharesPrompt } = runtime.planOf(plan);
  const { layout } = cache;
  const rows = numRows(layout.shape);
  const owned = layout.layerMap.filter((owner, layer) => owner === layer).length;
  const perRow = Uint32Array.from({ length: rows }, (_, row) => {
    const layer = Math.floor(row / layout.shape.numKvHeads);
    return layout.layerMap[layer] === layer ? promptTokens : 0;
  });
  const all = sum(perRow);
  const protect = policy?.protect ?? { sinks: 0, recent: 0 };
  const kept =
    policy && target
      ? Math.min(
          all,
          policy.budget.resolve({
            target,
            lengths: perRow,
            nextPosition: promptTokens,
            layout,
            protect,
          }),
        )
      : all;
  const keptTokens = kept / (owned * layout.shape.numKvHeads);
  const bytesBefore = sequenceTokenBytes(layout) * promptTokens;
  const bytesAfter = sequenceTokenBytes(layout) * keptTokens;
  const moments = policy
    ? [
        ...(policy.trigger.prefill ? ["once the prompt is cached"] : []),
        ...(policy.trigger.interval ? [`every ${policy.trigger.interval} decoded tokens`] : []),
        ...(policy.trigger.pressure ? ["when the pool runs short"] : []),
      ]
    : [];
  const signals = policy ? [...new Set(signalsOf(policy).map(({ kind }) => kind))] : [];
  const fallbacks = runtime.fallbacks();
  const lines = policy
    ? [
        `${policy.name} (${policy.paper}) scores by ${policy.scorer.name}, shares the budget out by ${policy.budget.name}, selects by ${policy.selector.name}.`,
        `It compresses ${moments.join(", ") || "never"}; ${protect.sinks} first and ${protect.recent} last tokens always stay.`,
        `A prompt of ${promptTokens} tokens keeps ${keptTokens.toFixed(1)} per row: ${bytesBefore} bytes become ${Math.round(bytesAfter)}.`,
        `${policy.queryAware ? "The question takes part" : "The question takes no part"} in what is kept.`,
      ]
    : [`Nothing is evicted: a prompt of ${promptTokens} tokens takes ${bytesBefore} bytes.`];
  lines.push(`Signals: ${signals.join(", ") || "none"} (${backend.description}).`);
  lines.push(
    sharesPrompt
      ? "Prompts share cached prefixes."
      : "Prompts share no cached prefixes: their signals belong to one sequence.",
  );
  for (const [kernel, runs] of fallbacks)
    lines.push(
      `${kernel} ran on the host ${runs} times: this backend has no implementation of it.`,
    );
  return Object.freeze({
    policy: policy?.name,
    paper: policy?.paper,
    signals,
    moments,
    sharesPrefixes: sharesPrompt,
    promptTokens,
    keptTokens,
    bytesBefore,
    bytesAfter,
    fallbacks,
    text: lines.join("\n"),
  });
}
