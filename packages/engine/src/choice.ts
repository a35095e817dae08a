import {
  createRandom,
  type Random,
  type SamplingParams,
  type StopMatcher,
  type StreamDecoder,
  sampleToken,
  stopMatcher,
  topLogprobs,
} from "@kvcache/decoder";
import type { Generation } from "./generation.ts";
import type { FinishReason, TokenEvent } from "./generation-event.ts";

export interface ChoiceOptions {
  readonly index: number;
  readonly sampling: SamplingParams;
  /** Of this choice alone, so that its neighbours in the batch do not matter. */
  readonly seed: number;
  readonly promptIds: Int32Array;
  /** Undefined where the model has no tokenizer: all text is empty then. */
  readonly decoder: StreamDecoder | undefined;
  readonly stopStrings: readonly string[];
  readonly stopIds: ReadonlySet<number>;
  readonly maxTokens: number;
  /** Undefined: no logprobs; otherwise how many alternatives each token reports. */
  readonly logprobs: number | undefined;
}

/** One of a request's choices: turns logits into a token, text and, sooner or later, an end. */
export class Choice {
  readonly generation: Generation;
  readonly index: number;
  readonly tokenIds: number[] = [];
  text = "";
  stoppedBy: number | string | undefined;
  firstTokenAt = 0;
  ended = false;
  readonly #options: ChoiceOptions;
  readonly #random: Random;
  readonly #stops: StopMatcher;

  constructor(generation: Generation, options: ChoiceOptions) {
    this.generation = generation;
    this.index = options.index;
    this.#options = options;
    this.#random = createRandom(options.seed);
    this.#stops = stopMatcher(options.stopStrings);
  }

  /** The token that was chosen last. */
  get lastToken(): number {
    return this.tokenIds.at(-1)!;
  }

  /** Samples from logits [vocabSize] and emits the token; returns why the choice ends, if it does. */
  take(logits: Float32Array): FinishReason | undefined {
    const { sampling, promptIds, decoder, stopIds, maxTokens, logprobs } = this.#options;
    const history = { promptIds, generatedIds: this.tokenIds };
    const tokenId = sampleToken(logits, sampling, history, this.#random);
    if (this.tokenIds.length === 0) this.firstTokenAt = performance.now();
    this.tokenIds.push(tokenId);
    let reason: FinishReason | undefined;
    let text = "";
    if (stopIds.has(tokenId)) {
      reason = "stop";
      this.stoppedBy = tokenId;
    } else {
      const match = this.#stops.push(decoder?.push(tokenId) ?? "");
      text = match.text;
      this.stoppedBy = match.stoppedBy;
      if (match.stoppedBy !== undefined) reason = "stop";
    }
    this.text += text;
    const event: TokenEvent = { type: "token", index: this.index, text, tokenId };
    this.generation.events.push(
      logprobs === undefined ? event : { ...event, ...topLogprobs(logits, tokenId, logprobs) },
    );
    return reason ?? (this.tokenIds.length >= maxTokens ? "length" : undefined);
  }

  /** Text that was held back: nothing after a stop string. */
  flush(): string {
    if (typeof this.stoppedBy === "string") return "";
    const { text, stoppedBy } = this.#stops.push(this.#options.decoder?.flush() ?? "");
    const rest = stoppedBy === undefined ? text + this.#stops.flush() : text;
    this.text += rest;
    return rest;
  }
}
