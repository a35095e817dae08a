/** What the page gets from the server, as JSON. Sizes are bytes, times milliseconds. */

/** What stays the same while a model is served. */
export interface Hello {
  readonly model: string;
  readonly models: readonly string[];
  readonly numLayers: number;
  readonly numKvHeads: number;
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly capacityBytes: number;
  /** Blocks that one cell of the grid stands for. */
  readonly blocksPerCell: number;
  /** Whether prompts may be read. */
  readonly showsText: boolean;
  /** What happened lately, oldest first. */
  readonly samples: readonly Sample[];
}

/** One point of the timeline. */
export interface Sample {
  /** Unix milliseconds. */
  readonly time: number;
  /** Of the blocks that sequences hold. */
  readonly heldBytes: number;
  /** Of these and the prefix cache. */
  readonly residentBytes: number;
  /** Tokens a second since the sample before. */
  readonly promptRate: number;
  readonly generationRate: number;
  /** Entries that compressions evicted since the sample before. */
  readonly evicted: number;
  readonly preemptions: number;
}

export type RequestState = "waiting" | "running" | "preempted" | "done" | "aborted" | "failed";

export interface RequestRow {
  readonly id: number;
  readonly state: RequestState;
  readonly policy: string;
  readonly choices: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  /** Tokens kept per row ÷ tokens seen. */
  readonly kept: number;
  readonly compressions: number;
  readonly bytes: number;
  readonly peakBytes: number;
  readonly ttft: number | null;
  readonly tokensPerSecond: number | null;
  /** Tokens of each row after the last compression, [numLayers × numKvHeads]; null before one. */
  readonly headTokens: readonly number[] | null;
  /** Tokens that this compression had seen. */
  readonly headTokensSeen: number;
}

/** Who holds a cell of the block grid, beside the sequences of a request. */
export const cellOwner = Object.freeze({ free: 0, prefix: 1, shared: 2, firstRequest: 3 });

export interface Frame {
  readonly sample: Sample;
  readonly running: number;
  readonly waiting: number;
  readonly heldBlocks: number;
  readonly reclaimableBlocks: number;
  readonly totalPromptTokens: number;
  readonly totalGeneratedTokens: number;
  readonly totalEvicted: number;
  /** Newest first. */
  readonly requests: readonly RequestRow[];
  /** One byte a cell, base64: a `cellOwner`, or firstRequest + index in `owners`. */
  readonly cells: string;
  /** Ids of requests. */
  readonly owners: readonly number[];
}

/** Where a request's tokens are still cached. */
export interface KeptTokens {
  readonly id: number;
  readonly promptTokens: number;
  /** Positions: prompt and what was generated and fed. */
  readonly positions: number;
  readonly numLayers: number;
  readonly numKvHeads: number;
  /** One bit a position, rows padded to whole bytes, lowest bit first, base64; null: all are kept. */
  readonly rows: string | null;
  /** Text of each token, where prompts may be read. */
  readonly texts: readonly string[] | null;
  /** False where the positions were not remembered any more. */
  readonly known: boolean;
}
