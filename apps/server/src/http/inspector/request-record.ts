import { type CacheManager, type SequenceSlot, sum } from "@kvcache/core";
import type { EndEvent, GenerationRequest, TokenEvent, TraceEvent } from "@kvcache/engine";
import { policyName } from "../kv-plan.ts";
import type { RequestRow, RequestState } from "./frame.ts";
import type { KeptBits } from "./kept-bits.ts";

type Compression = Extract<TraceEvent, { type: "compress" }>;

/** Everything the inspector remembers of a request. */
export class RequestRecord {
  readonly id: number;
  readonly prompt: GenerationRequest["prompt"];
  readonly #policy: string;
  readonly #choices: number;
  readonly #began = performance.now();
  state: RequestState = "waiting";
  /** Sequences of its choices that have not ended. */
  readonly open = new Set<number>();
  /** Slot of the first sequence, whose cache is shown. */
  slot: SequenceSlot | undefined;
  first: number | undefined;
  promptTokens = 0;
  cachedTokens = 0;
  generatedTokens = 0;
  /** Of the first choice. */
  readonly generatedIds: number[] = [];
  /** Contents of the first sequence when it ended, where something was evicted. */
  bits: KeptBits | undefined;
  compression: Compression | undefined;
  #compressions = 0;
  #kept = 1;
  #bytes = 0;
  #peakBytes = 0;
  #firstTokenAt = 0;
  #lastTokenAt = 0;

  constructor(id: number, request: GenerationRequest) {
    this.id = id;
    this.prompt = request.prompt;
    this.#policy = policyName(request.plan ?? {});
    this.#choices = request.n ?? 1;
  }

  compressed(event: Compression): void {
    if (event.sequence !== this.first) return;
    this.compression = event;
    this.#compressions++;
  }

  token({ index, tokenId, time }: TokenEvent, keepIds: boolean): void {
    this.generatedTokens++;
    if (this.#firstTokenAt === 0) this.#firstTokenAt = time;
    this.#lastTokenAt = time;
    if (keepIds && index === 0) this.generatedIds.push(tokenId);
  }

  end({ kv, usage }: EndEvent): void {
    this.cachedTokens = usage.cachedTokens;
    this.#peakBytes = Math.max(this.#peakBytes, kv.bytesPeak);
    if (kv.tokensSeen > 0) this.#kept = Math.min(1, kv.tokensKept / kv.tokensSeen);
  }

  /** Reads what the cache holds of it now. */
  look(cache: CacheManager): void {
    this.#bytes = 0;
    if (this.slot === undefined) return;
    const { lengths, nextPosition, residentBytes } = cache.sequenceStats(this.slot);
    this.#bytes = residentBytes;
    this.#peakBytes = Math.max(this.#peakBytes, residentBytes);
    const { layerMap, shape } = cache.layout;
    const owners = layerMap.filter((owner, layer) => owner === layer).length;
    const rows = owners * shape.numKvHeads;
    if (nextPosition > 0) this.#kept = Math.min(1, sum(lengths) / (rows * nextPosition));
  }

  get row(): RequestRow {
    const { compression } = this;
    const decodeMs = this.#lastTokenAt - this.#firstTokenAt;
    return {
      id: this.id,
      state: this.state,
      policy: this.#policy,
      choices: this.#choices,
      promptTokens: this.promptTokens,
      cachedTokens: this.cachedTokens,
      generatedTokens: this.generatedTokens,
      kept: this.#kept,
      compressions: this.#compressions,
      bytes: this.#bytes,
      peakBytes: this.#peakBytes,
      ttft: this.#firstTokenAt === 0 ? null : this.#firstTokenAt - this.#began,
      tokensPerSecond: decodeMs > 0 ? ((this.generatedTokens - 1) * 1000) / decodeMs : null,
      headTokens: compression?.kept ?? null,
      headTokensSeen: compression?.tokens ?? 0,
    };
  }
}
