import type { StepInput } from "@kvcache/core";
import type { Watched } from "./observe-pass.ts";
import type { BlockReads } from "./read-blocks.ts";

/** One sequence's share of a step. */
export interface Feed {
  /** Cache slot of the sequence. */
  readonly slot: number;
  /** Token ids and their RoPE lengths; `count` of them are fed, starting at `from`. */
  readonly ids: Int32Array;
  readonly ropeLengths: Int32Array;
  readonly from: number;
  readonly count: number;
  /** Position that the first of them gets. */
  readonly position: number;
  readonly signalFlags: number;
  readonly attentionBuffer: number;
  /** Logits of none, the last or all of the tokens. */
  readonly logits: "none" | "last" | "all";
  /** Present where the pass reads a part of the sequence's blocks only. */
  readonly reads?: BlockReads | undefined;
  /** Present where somebody looks at the pass. */
  readonly watched?: Watched;
}

const names = [
  "tokenIds",
  "positions",
  "ropeLengths",
  "cuTokens",
  "sequences",
  "logitIndices",
  "signalFlags",
  "attentionBuffers",
] as const;
type Column = (typeof names)[number];

/** Lays the feeds of a step out flat, in arrays that are reused from step to step. */
export class StepAssembler {
  readonly #columns = Object.fromEntries(names.map((name) => [name, new Int32Array(64)])) as Record<
    Column,
    Int32Array
  >;

  /** Views over the assembler's arrays: valid until the next call. */
  assemble(feeds: readonly Feed[]): StepInput {
    let numTokens = 0;
    for (const feed of feeds) numTokens += feed.count;
    for (const name of names) this.#reserve(name, Math.max(numTokens, feeds.length + 1));
    const c = this.#columns;
    let token = 0;
    let numLogits = 0;
    feeds.forEach((feed, i) => {
      c.cuTokens[i] = token;
      c.sequences[i] = feed.slot;
      c.signalFlags[i] = feed.signalFlags;
      c.attentionBuffers[i] = feed.attentionBuffer;
      c.tokenIds.set(feed.ids.subarray(feed.from, feed.from + feed.count), token);
      c.ropeLengths.set(feed.ropeLengths.subarray(feed.from, feed.from + feed.count), token);
      for (let j = 0; j < feed.count; j++) c.positions[token + j] = feed.position + j;
      const wanted = feed.logits === "all" ? feed.count : feed.logits === "last" ? 1 : 0;
      for (let j = feed.count - wanted; j < feed.count; j++)
        c.logitIndices[numLogits++] = token + j;
      token += feed.count;
    });
    c.cuTokens[feeds.length] = token;
    return {
      tokenIds: c.tokenIds.subarray(0, token),
      positions: c.positions.subarray(0, token),
      ropeLengths: c.ropeLengths.subarray(0, token),
      cuTokens: c.cuTokens.subarray(0, feeds.length + 1),
      sequences: c.sequences.subarray(0, feeds.length),
      logitIndices: c.logitIndices.subarray(0, numLogits),
      signalFlags: c.signalFlags.subarray(0, feeds.length),
      attentionBuffers: c.attentionBuffers.subarray(0, feeds.length),
    };
  }

  #reserve(name: Column, length: number): void {
    if (this.#columns[name].length < length) this.#columns[name] = new Int32Array(length * 2);
  }
}
