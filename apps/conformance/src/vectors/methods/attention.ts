import { pyramid } from "@kvcache/budget-pyramid";
import { groupSize, hostTensor } from "@kvcache/core";
import { addSums } from "@kvcache/kernels";
import { createPolicy } from "@kvcache/policies";
import { scorerFrom } from "@kvcache/scorers";
import { floats, type VectorCase } from "../case.ts";
import {
  type BudgetMethod,
  type Method,
  type MethodAdapter,
  type MethodContext,
  type MethodTable,
  type Params,
  pick,
  targetOf,
} from "../method.ts";
import { headProfiles } from "./head-profiles.ts";
import { heatKV } from "./heat-kv.ts";

/** Methods that score by attention or by keys alone. */
export const attention: MethodTable = {
  h2o: {
    policy: (params, { vector }) => ({
      policy: createPolicy("h2o", {
        ...pick(params, ["window", "groupReduce"]),
        variant: "kvcache-factory",
        ...allQueries(vector),
      }),
      target: targetOf(params),
    }),
  },
  ...headProfiles,
  "heat-kv": heatKV,
  "key-diff": { policy: named("key-diff") },
  knorm: { policy: named("knorm") },
  "lag-kv": { policy: named("lag-kv", ["sinks", "lag", "crossScoring"], { keepProtected: false }) },
  "observed-attention": {
    policy: (params, { vector }) => ({
      policy: createPolicy("observed-attention", allQueries(vector)),
      target: targetOf(params),
    }),
  },
  "pyramid-kv": { policy: pyramidKVOf, budget: pyramidBudgetOf },
  random: { policy: randomOf },
  scissorhands: scissorhands(),
  tova: { policy: named("tova") },
};

/** A policy whose parameters in the cases are its options. */
function named(name: string, options: readonly string[] = [], more: Params = {}) {
  return (params: Params): Method => ({
    policy: createPolicy(name, { ...pick(params, options), ...more }),
    target: targetOf(params),
  });
}

/** Where no model runs, the sums over all queries are computed from the queries that a case gives. */
const allQueries = ({ kind, shape }: VectorCase): Params =>
  kind === "model" ? {} : { queries: shape.tokens };

/** kvpress' cases speak of a ratio, those of KVCache-Factory of tokens. */
const variantOf = ({ variant, tokens }: Params) =>
  variant ?? (tokens === undefined ? "kvpress" : "kvcache-factory");

function pyramidKVOf(params: Params): Method {
  const options = ["window", "pooling", "groupReduce", "beta", "rounding"];
  return {
    policy: createPolicy("pyramid-kv", {
      ...pick(params, options),
      variant: variantOf(params),
      keepProtected: false,
    }),
    target: targetOf(params),
  };
}

function pyramidBudgetOf(params: Params): BudgetMethod {
  const made = pyramidKVOf(params);
  if ("skip" in made) return made;
  const { beta, rounding } = made.policy.options as { beta: number; rounding: "exact" };
  return {
    budget: pyramid({ beta, rule: rounding, keepProtected: false }),
    target: made.target,
    protect: made.policy.protect,
  };
}

/** Without a seed the case gives what was drawn. */
function randomOf(params: Params, { vector }: MethodContext): Method {
  const seed = (params.seed ?? null) as number | null;
  const policy = createPolicy("random", seed === null ? {} : { seed });
  const { kvHeads, tokens, layers } = vector.shape;
  const drawn = floats(vector, "scores", layers * kvHeads * tokens);
  const given = scorerFrom("given", [], ({ layer, head }) => {
    const row = layer * kvHeads + head;
    return drawn.subarray(row * tokens, (row + 1) * tokens);
  });
  return {
    policy: seed === null ? { ...policy, scorer: given } : policy,
    target: targetOf(params),
  };
}

function scissorhands(): MethodAdapter {
  return {
    policy(params, { vector }) {
      const rows = vector.tensors.get("attention")?.shape[2];
      return {
        policy: createPolicy("scissorhands", {
          ...pick(params, ["decay", "protect", "selection", "temperature", "seed"]),
          historyWindow: params.historyWindow ?? rows ?? null,
          keepProtected: false,
        }),
        target: targetOf(params),
      };
    },
    // The event before, at whose end importance fades.
    before(encoder, batch, { scorer }, vector) {
      if (!vector.tensors.has("priorScores")) return;
      // What the cache carries are sums over the query heads of a group.
      const group = groupSize(batch.shape);
      const prior = floats(vector, "priorScores", batch.totalSlots).map((mean) => mean * group);
      encoder.run(addSums, { batch, power: 1, values: hostTensor(prior) });
      const read = encoder.tensor("f32", batch.totalSlots);
      scorer.score(encoder, { ...batch, phase: "decode" }, read);
    },
  };
}
