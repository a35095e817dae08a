import type { Protect, Scorer } from "@kvcache/core";
import { protectScores } from "@kvcache/kernels";
import { joinScorers } from "./joined-scorers.ts";

/** A scorer and what it protects. */
export interface ProtectingScorer {
  readonly scorer: Scorer;
  readonly protect: Protect;
}

/** Scores with `prefill` when a prompt ends and with `decoding` later; each protects its own. */
export function byPhase(prefill: ProtectingScorer, decoding: ProtectingScorer): Scorer {
  const parts = [prefill, decoding];
  const { viewOf, ...joined } = joinScorers(parts.map(({ scorer }) => scorer));
  return Object.freeze<Scorer>({
    name: "by-phase",
    options: {
      scorers: parts.map(({ scorer, protect }) => [scorer.name, scorer.options ?? {}, protect]),
    },
    ...joined,
    score(encoder, batch, out, target) {
      const index = batch.phase === "prefill" ? 0 : 1;
      const { scorer, protect } = parts[index]!;
      scorer.score(encoder, { ...viewOf(batch, index), protect }, out, target);
      encoder.run(protectScores, { batch, scores: out, protect });
    },
  });
}
