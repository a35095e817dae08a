import { KvCacheError } from "@kvcache/core";
import { heatOrder, heatSchedule, scaleMass } from "@kvcache/kernels";
import { failed, floats, integers, passed, type VectorCase, type Verdict } from "../case.ts";
import { compareFloats, compareIntegers, first } from "../compare.ts";
import type { MethodAdapter } from "../method.ts";

/** HeatKV's cases speak of image scales: the schedule and the measure, not the form for text. */
export const heatKV: MethodAdapter = { run: { budget: runSchedule, metric: runMeasure } };

interface ScaleParams {
  readonly scaleTokens: readonly number[];
  readonly sinkScales?: number;
  readonly ratio?: number;
}

const scalesOf = ({ params, shape }: VectorCase) => {
  const { scaleTokens, sinkScales = 3, ratio = 0.1 } = params as unknown as ScaleParams;
  return { scaleTokens, sinkScales, ratio, heads: shape.layers * shape.kvHeads };
};

async function runSchedule(vector: VectorCase): Promise<Verdict> {
  const scales = scalesOf(vector);
  if (vector.expect.includes("error")) return refuses(() => heatSchedule(scales));
  const pruned = heatSchedule(scales);
  const order = integers(vector, "order");
  const cached = order ? cachedTokens(vector, pruned, order) : [];
  const results: Record<string, ArrayLike<number>> = {
    pruned,
    cachedTokens: cached.flat(),
    counts: cached.at(-1) ?? [],
  };
  return first(...vector.expect.map((name) => compareIntegers(vector, name, results[name] ?? [])));
}

function refuses(run: () => unknown): Verdict {
  try {
    run();
    return failed("expected a configuration error");
  } catch (error) {
    return error instanceof KvCacheError ? passed : failed(String(error));
  }
}

/** Tokens of every head once each scale is cached: [K − 1][L × H]. */
function cachedTokens(
  vector: VectorCase,
  pruned: readonly number[],
  order: Int32Array,
): number[][] {
  const { scaleTokens, sinkScales, heads } = scalesOf(vector);
  const { kvHeads } = vector.shape;
  return pruned.map((without, scale) => {
    const counts = new Array<number>(heads).fill(0);
    for (let source = 0; source <= scale; source++) {
      const lost = new Set<number>();
      for (let rank = 0; source >= sinkScales && rank < without; rank++) {
        const at = ((source - sinkScales) * heads + rank) * 2;
        lost.add(order[at + 1]! * kvHeads + order[at]!);
      }
      counts.forEach((count, head) => {
        if (!lost.has(head)) counts[head] = count + scaleTokens[source]!;
      });
    }
    return counts;
  });
}

async function runMeasure(vector: VectorCase): Promise<Verdict> {
  const scales = scalesOf(vector);
  const { layers, kvHeads } = vector.shape;
  const attention = [...vector.tensors.keys()].flatMap((name) => {
    const [, prompt, target] = /^attention_p(\d+)_t(\d+)$/.exec(name) ?? [];
    return prompt ? [{ prompt, target: Number(target), weights: floats(vector, name, 0) }] : [];
  });
  const prompts = new Set(attention.map(({ prompt }) => prompt)).size;
  const mass = scaleMass({ ...scales, prompts, attention });
  const order = heatOrder(mass, layers, kvHeads).flatMap((heads) =>
    Array.from(heads, (head) => [head % kvHeads, Math.floor(head / kvHeads)]),
  );
  return first(compareFloats(vector, "scas", mass), compareIntegers(vector, "order", order.flat()));
}
