import { type ScoredToken, topLogprobs } from "@kvcache/decoder";

/** What the model thought of a prompt token, given those before it. */
export interface PromptLogprob extends ScoredToken {
  readonly tokenId: number;
}

/** Collects what the model thinks of each prompt token while the prompt is fed. */
export class PromptScores {
  /** One entry for each prompt token that was judged so far; undefined for the first. */
  readonly logprobs: (PromptLogprob | undefined)[] = [undefined];
  readonly #promptIds: Int32Array;
  readonly #alternatives: number;

  constructor(promptIds: Int32Array, alternatives: number) {
    this.#promptIds = promptIds;
    this.#alternatives = alternatives;
  }

  /** Logits [rows, vocabSize] of the tokens from `from` on; a preempted prompt brings some again. */
  take(from: number, logits: Float32Array, vocabSize: number): void {
    const { logprobs } = this;
    for (let row = 0; row * vocabSize < logits.length; row++) {
      const at = from + row + 1;
      if (at !== logprobs.length || at >= this.#promptIds.length) continue;
      const tokenId = this.#promptIds[at]!;
      const rowLogits = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
      logprobs.push({ tokenId, ...topLogprobs(rowLogits, tokenId, this.#alternatives) });
    }
  }
}
