import type { TokenLogprob } from "@kvcache/decoder";

/** Why a choice ended; `abort` when the caller's signal fired or it stopped iterating. */
export type FinishReason = "stop" | "length" | "abort";

export interface Usage {
  readonly promptTokens: number;
  /** The stop token included. */
  readonly completionTokens: number;
  /** Prompt tokens that were not computed again: from the prefix index or the session. */
  readonly cachedTokens: number;
}

/** What the sequence's cache held. */
export interface KvUsage {
  /** Tokens that were fed. */
  readonly tokensSeen: number;
  /** Tokens kept per row on average at the end: less than seen where something was evicted. */
  readonly tokensKept: number;
  readonly bytesPeak: number;
  readonly bytesNow: number;
  readonly compressions: number;
}

export interface Timings {
  /** From the request to its first token. */
  readonly ttftMs: number;
  /** From the first moment it ran to its first token. */
  readonly prefillMs: number;
  /** From the first token to the last. */
  readonly decodeMs: number;
}

export interface TokenEvent {
  readonly type: "token";
  /** Which of the request's `n` choices. */
  readonly index: number;
  /** Text that this token completes: empty inside a character or while a stop string may follow. */
  readonly text: string;
  readonly tokenId: number;
  /** When it was chosen, as `performance.now()` tells. */
  readonly time: number;
  /** Before any sampling parameter; present where the request asked for logprobs. */
  readonly logprob?: number;
  /** 1 for the likeliest token. */
  readonly rank?: number;
  readonly topLogprobs?: readonly TokenLogprob[];
}

export interface EndEvent {
  readonly type: "end";
  readonly index: number;
  /** Text that was held back until the end. */
  readonly text: string;
  readonly finishReason: FinishReason;
  /** The id or string that ended it, where one did. */
  readonly stoppedBy: number | string | undefined;
  readonly usage: Usage;
  readonly kv: KvUsage;
  readonly timings: Timings;
}

/** Tokens as they come; one end event per choice. */
export type GenerationEvent = TokenEvent | EndEvent;

/** A finished choice. */
export interface GenerationChoice extends Omit<EndEvent, "type"> {
  readonly tokenIds: Int32Array;
}

/** The first choice, and all of them. */
export interface GenerationResult extends GenerationChoice {
  readonly choices: readonly GenerationChoice[];
}
