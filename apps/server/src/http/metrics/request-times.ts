import type { EndEvent, GenerationEvent, GenerationStream } from "@kvcache/engine";
import type { Metrics, OwnLabels } from "./metrics.ts";

/** The same stream; when its tokens came is observed as they are read. */
export function timed(
  metrics: Metrics,
  labels: OwnLabels,
  stream: GenerationStream,
): GenerationStream {
  async function* events(): AsyncGenerator<GenerationEvent> {
    const lastTimes = new Map<number, number>();
    const ends: EndEvent[] = [];
    for await (const event of stream) {
      if (event.type === "token") {
        const last = lastTimes.get(event.index);
        if (last !== undefined) metrics.interToken.observe(labels, (event.time - last) / 1000);
        lastTimes.set(event.index, event.time);
      } else if (event.finishReason !== "abort") ends.push(event);
      yield event;
    }
    if (ends.length > 0) observeEnds(metrics, labels, ends);
  }
  return {
    result: stream.result,
    promptLogprobs: stream.promptLogprobs,
    get cachedTokens() {
      return stream.cachedTokens;
    },
    [Symbol.asyncIterator]: events,
  };
}

/** One request, when its last answer has ended. */
function observeEnds(metrics: Metrics, labels: OwnLabels, ends: readonly EndEvent[]): void {
  const [first] = ends;
  const { ttftMs, prefillMs } = first!.timings;
  const decodeMs = Math.max(...ends.map(({ timings }) => timings.decodeMs));
  const observe = (histogram: Metrics["endToEnd"], milliseconds: number) =>
    histogram.observe(labels, milliseconds / 1000);
  observe(metrics.timeToFirstToken, ttftMs);
  observe(metrics.queueTime, ttftMs - prefillMs);
  observe(metrics.prefillTime, prefillMs);
  observe(metrics.decodeTime, decodeMs);
  observe(metrics.endToEnd, ttftMs + decodeMs);
  metrics.promptSizes.observe(labels, first!.usage.promptTokens);
  for (const { usage } of ends) metrics.generationSizes.observe(labels, usage.completionTokens);
}
