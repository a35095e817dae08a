import { KvCacheError, type Scorer } from "@kvcache/core";
import { groupMaximum, type RepeatAttentionOptions, repeatAttention } from "./repeat-attention.ts";
import { replayTable } from "./replay-table.ts";

/**
 * ‖∂Φ/∂(attention output of a layer)‖₂ at tokens [from, from + count) of replay pass `pass`, f32
 * [count], where Φ is the sum of the squared last hidden states of the pass.
 */
export type GradientNorms = (
  pass: number,
  layer: number,
  from: number,
  count: number,
) => Float32Array;

export interface RepeatInfluenceOptions extends Pick<RepeatAttentionOptions, "sinks" | "chunk"> {
  /** From a backward pass, which a forward-only engine has not; a plan without them is refused. */
  readonly gradientNorms: GradientNorms | null;
}

/**
 * KVzip's replay, each attention weight times what it writes and how much the model's last hidden
 * state depends on the place it is written to: A · ‖W_O v‖₂ · ‖gradient‖₂, the largest over queries
 * and query heads. https://openreview.net/forum?id=cg1wTCJjjk (KVgrad). Throws `unsupported` without
 * gradients.
 */
export function repeatInfluence(options: RepeatInfluenceOptions): Scorer {
  const { sinks = 4, chunk = 512, gradientNorms } = options;
  const base = repeatAttention({ sinks, chunk });
  const given = (): GradientNorms => {
    if (gradientNorms) return gradientNorms;
    throw new KvCacheError(
      "unsupported",
      "KVgrad needs gradients; engines here run forward only.",
      {
        remedy: "Give gradientNorms from a backward pass of your own, or use kv-zip-plus.",
      },
    );
  };
  return Object.freeze<Scorer>({
    name: "repeat-influence",
    options: { sinks, chunk },
    needs: [...base.needs, { kind: "outputWeight" }],
    checkShape: () => {
      given();
    },
    createObserver: (layout) =>
      replayTable(layout, {
        reduce: "max",
        seen: ({ start, end }) => [
          { from: 0, to: Math.min(sinks, start) },
          { from: start, to: end },
        ],
        factors: ({ start, tokenIds }, layer, { index, cached }) =>
          given()(index, layer, start - cached, tokenIds.length),
      }),
    score: (encoder, batch, out) => encoder.run(groupMaximum, { batch, out, normalize: true }),
  });
}
