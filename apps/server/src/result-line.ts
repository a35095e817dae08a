import type { GenerationResult } from "@kvcache/engine";
import { formatBytes } from "./quantities.ts";

/** Tokens per second while decoding; NaN for fewer than two tokens. */
export const decodeSpeed = ({ usage, timings }: GenerationResult): number =>
  usage.completionTokens > 1
    ? ((usage.completionTokens - 1) * 1000) / timings.decodeMs
    : Number.NaN;

/** One line for people about a finished answer. */
export function resultLine(result: GenerationResult): string {
  const { usage, kv, timings, finishReason } = result;
  const speed = decodeSpeed(result);
  return [
    `${usage.promptTokens} prompt tokens${usage.cachedTokens ? ` (${usage.cachedTokens} from cache)` : ""}`,
    `${usage.completionTokens} new, ${finishReason}`,
    `first token ${(timings.ttftMs / 1000).toFixed(2)} s`,
    ...(Number.isFinite(speed) ? [`${speed.toFixed(1)} tokens/s`] : []),
    `KV ${formatBytes(kv.bytesNow)} now, ${formatBytes(kv.bytesPeak)} peak, ${Math.round(kv.tokensKept)} of ${kv.tokensSeen} tokens a row`,
  ].join(" · ");
}

export const resultJson = (result: GenerationResult) => ({
  text: result.text,
  tokenIds: [...result.tokenIds],
  finishReason: result.finishReason,
  stoppedBy: result.stoppedBy ?? null,
  usage: result.usage,
  kv: result.kv,
  timings: result.timings,
});
