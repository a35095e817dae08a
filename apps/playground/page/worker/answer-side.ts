import type { SequenceSlot } from "@kvcache/core";
import { tokenizerOf } from "@kvcache/decoder";
import type { EndEvent, TraceEvent } from "@kvcache/engine";
import type { Comparison, SideEvent, SidePlan } from "../protocol.ts";
import { keptBits } from "./kept-bits.ts";
import type { RunningModel } from "./open-model.ts";
import { planOf } from "./plan-of.ts";
import type { Prompt } from "./prompt.ts";

export interface SideRun {
  /** Takes the engine's trace while this side runs. */
  onTrace(event: TraceEvent): void;
  /** Generates to the end. Rejects with what the engine rejects with. */
  run(): Promise<void>;
}

/** One side's answer: what happens to its tokens and its cache, as it happens. */
export function answerSide(
  running: RunningModel,
  prompt: Prompt,
  side: SidePlan,
  { maxTokens, hideQuestion }: Pick<Comparison, "maxTokens" | "hideQuestion">,
  signal: AbortSignal,
  emit: (event: SideEvent) => void,
): SideRun {
  const { engine, cache, model } = running;
  const total = prompt.ids.length;
  let slot: SequenceSlot | undefined;
  let done = 0;

  function showLengths(): void {
    if (slot === undefined) return;
    const { lengths, residentBytes } = cache.sequenceStats(slot);
    emit({ type: "lengths", lengths: lengths.slice(), bytes: residentBytes });
  }
  function showKept(): void {
    if (slot === undefined) return;
    const { nextPosition } = cache.sequenceStats(slot);
    const bits = keptBits(running.rowPositions(slot), nextPosition);
    emit({ type: "kept", positions: nextPosition, bits });
  }

  return {
    onTrace(event) {
      if (event.type === "admit") {
        slot = event.slot;
        done = event.reused;
      } else if (event.type === "step" && done < total) {
        done += event.prefillTokens;
        emit({ type: "prefill", done, total });
        showLengths();
      } else if (event.type === "compress") {
        showLengths();
        showKept();
      } else if (event.type === "finish") {
        // The last moment at which the sequence is still in the cache.
        showLengths();
        showKept();
        slot = undefined;
      }
    },
    async run() {
      const plan = planOf(side);
      const { keptTokens, bytesBefore } = engine.explain(plan, total);
      emit({ type: "start", expected: { keptTokens, bytesBefore } });
      const callsBefore = new Map(engine.stats().fallbacks);
      const stream = engine.generate({
        prompt: prompt.ids,
        plan,
        maxTokens,
        sampling: { temperature: 0 },
        signal,
        ...(hideQuestion && side.policy !== "full" ? { compressAfter: prompt.textEnd } : {}),
      });
      const tokenIds: number[] = [];
      let text = "";
      for await (const event of stream) {
        text += event.text;
        if (event.type === "end") {
          const calls = [...engine.stats().fallbacks].map(
            ([name, count]) => [name, count - (callsBefore.get(name) ?? 0)] as const,
          );
          const fallbacks = calls.filter(([, count]) => count > 0);
          emit({
            type: "end",
            result: { ...resultOf(event, tokenIds.length), text, tokenIds, fallbacks },
          });
        } else {
          tokenIds.push(event.tokenId);
          const bytes = tokenizerOf(model).tokenBytes(event.tokenId);
          emit({ type: "token", text: event.text, tokenText: new TextDecoder().decode(bytes) });
          showLengths();
        }
      }
    },
  };
}

const resultOf = ({ usage, kv, timings, finishReason }: EndEvent, numTokens: number) => ({
  promptTokens: usage.promptTokens,
  reusedTokens: usage.cachedTokens,
  tokensKept: kv.tokensKept,
  bytesPeak: kv.bytesPeak,
  bytesNow: kv.bytesNow,
  compressions: kv.compressions,
  firstTokenMs: timings.ttftMs,
  tokensPerSecond: numTokens > 1 ? (1000 * (numTokens - 1)) / timings.decodeMs : Number.NaN,
  stopped: finishReason === "abort",
});
