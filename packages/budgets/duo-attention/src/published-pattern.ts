import { type HeadProfile, headProfile, KvCacheError } from "@kvcache/core";

export interface PublishedPatternOptions {
  readonly model: HeadProfile["model"];
  /** Query heads of a layer; the file knows KV heads only. */
  readonly numQueryHeads: number;
  /** Text of the `config.json` beside it, whose `sink_size` and `recent_size` it was trained for. */
  readonly config?: string | undefined;
}

/**
 * Reads a pattern as DuoAttention publishes it, `full_attention_heads.tsv`: a line a layer, a trained
 * gate for each KV head, cut to [0, 1]. Throws `invalid-file` when it is anything else.
 */
export function convertDuoAttentionPattern(
  text: string,
  { model, numQueryHeads, config }: PublishedPatternOptions,
): HeadProfile {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const gates = lines.map((line) => line.trim().split(/\s+/).map(Number));
  const numKvHeads = gates[0]?.length ?? 0;
  const line = gates.findIndex((row) => row.length !== numKvHeads || row.some(Number.isNaN));
  if (numKvHeads === 0 || line >= 0)
    throw new KvCacheError("invalid-file", `Line ${line + 1} is no row of ${numKvHeads} gates.`, {
      value: lines[line],
      remedy: "Give the text of full_attention_heads.tsv from the authors' attn_patterns folder.",
    });
  const values = gates.flat().map((gate) => Math.min(1, Math.max(0, gate)));
  return headProfile({
    kind: "duo-attention",
    model,
    shape: { numLayers: gates.length, numQueryHeads, numKvHeads },
    settings: { onTheFly: false, ...(config !== undefined && sizesOf(config)) },
    arrays: { headScores: { shape: [gates.length, numKvHeads], values } },
  });
}

/** What streaming heads keep, from the published configuration of the training. */
function sizesOf(config: string): { readonly sinks: number; readonly recent: number } {
  let sizes: { readonly sink_size?: unknown; readonly recent_size?: unknown } | null;
  try {
    sizes = JSON.parse(config);
  } catch (cause) {
    throw new KvCacheError("invalid-file", "The configuration is not JSON.", { cause });
  }
  const { sink_size: sinks, recent_size: recent } = sizes ?? {};
  const isSize = (value: unknown): value is number =>
    Number.isSafeInteger(value) && (value as number) >= 0;
  if (!isSize(sinks) || !isSize(recent))
    throw new KvCacheError("invalid-file", "The configuration has no sink_size and recent_size.", {
      value: sizes,
      remedy: "Give the config.json that lies beside full_attention_heads.tsv, or none.",
    });
  return { sinks, recent };
}
