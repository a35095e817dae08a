import { KvCacheError } from "@kvcache/core";
import {
  createRandom,
  maskLogits,
  type Random,
  type SamplingParams,
  type StopMatcher,
  type StreamDecoder,
  sampleToken,
  stopMatcher,
  type TokenConstraint,
  type TokenGrammar,
  topLogprobs,
} from "@kvcache/decoder";
import type { Generation } from "./generation.ts";
import type { FinishReason, TokenEvent } from "./generation-event.ts";
import type { PromptScores } from "./prompt-scores.ts";

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
  /** Stop strings and ids do not count before. */
  readonly minTokens: number;
  readonly grammar: TokenGrammar | undefined;
  /** Whether the prompt's cache is wanted instead of tokens. */
  readonly captures: boolean;
  /** Where this choice's prompt is scored. */
  readonly promptScores: PromptScores | undefined;
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
  readonly #constraint: TokenConstraint | undefined;

  constructor(generation: Generation, options: ChoiceOptions) {
    this.generation = generation;
    this.index = options.index;
    this.#options = options;
    this.#random = createRandom(options.seed);
    this.#stops = stopMatcher(options.stopStrings);
    this.#constraint = options.grammar?.start();
  }

  get promptScores(): PromptScores | undefined {
    return this.#options.promptScores;
  }

  get captures(): boolean {
    return this.#options.captures;
  }

  get maxTokens(): number {
    return this.#options.maxTokens;
  }

  /** Whether nothing but `maxTokens` can end it. */
  get runsToTheEnd(): boolean {
    const { stopIds, stopStrings, grammar } = this.#options;
    return stopIds.size === 0 && stopStrings.length === 0 && grammar === undefined;
  }

  /** The token that was chosen last. */
  get lastToken(): number {
    return this.tokenIds.at(-1)!;
  }

  /** Tokens that it may still be given. */
  get tokensLeft(): number {
    return this.#options.maxTokens - this.tokenIds.length;
  }

  /**
   * Where the next token is drawn from softmax(logits / temperature) and nobody asks for more: that
   * temperature, 0 for the likeliest.
   */
  get plainTemperature(): number | undefined {
    const { sampling, logprobs, grammar, stopIds } = this.#options;
    const masked = grammar !== undefined || (this.#isEarly && stopIds.size > 0);
    return logprobs !== undefined || masked ? undefined : plainTemperature(sampling);
  }

  /** Where in its distribution the next token lies, in [0, 1): once for each token that is drawn. */
  nextRandom(): number {
    return this.#random();
  }

  /** Whether stops do not count yet. */
  get #isEarly(): boolean {
    return this.tokenIds.length < this.#options.minTokens;
  }

  /** Samples from logits [vocabSize] and emits the token; returns why the choice ends, if it does. */
  take(logits: Float32Array): FinishReason | undefined {
    const { sampling, promptIds, logprobs } = this.#options;
    if (this.#wantsNothing()) return "length";
    const history = { promptIds, generatedIds: this.tokenIds };
    const permitted = this.#permitted(logits, this.#isEarly);
    const tokenId = sampleToken(permitted, sampling, history, this.#random);
    return this.#accept(
      tokenId,
      logprobs === undefined ? {} : topLogprobs(logits, tokenId, logprobs),
    );
  }

  /** `take` of a token that a device chose, −1 where its logits were not finite. */
  takeChosen(tokenId: number): FinishReason | undefined {
    if (this.#wantsNothing()) return "length";
    if (tokenId < 0)
      throw new KvCacheError("invalid-argument", "The logits of a token are not finite.", {
        remedy: "Check the model's weights for NaN and Infinity.",
      });
    return this.#accept(tokenId, {});
  }

  /** Notes the time of its first token; whether it was not to have any. */
  #wantsNothing(): boolean {
    if (this.tokenIds.length === 0) this.firstTokenAt = performance.now();
    return this.#options.maxTokens === 0;
  }

  #accept(
    tokenId: number,
    logprobs: Partial<Pick<TokenEvent, "logprob" | "topLogprobs">>,
  ): FinishReason | undefined {
    const { decoder, stopIds, maxTokens } = this.#options;
    const time = performance.now();
    const early = this.#isEarly;
    this.tokenIds.push(tokenId);
    let reason: FinishReason | undefined;
    let text = "";
    if (stopIds.has(tokenId)) {
      reason = "stop";
      this.stoppedBy = tokenId;
    } else {
      const complete = this.#constraint?.accept(tokenId) === true;
      text = decoder?.push(tokenId) ?? "";
      if (!early) {
        const match = this.#stops.push(text);
        text = match.text;
        this.stoppedBy = match.stoppedBy;
      }
      if (this.stoppedBy !== undefined || complete) reason = "stop";
    }
    this.text += text;
    const event: TokenEvent = { type: "token", index: this.index, text, tokenId, time };
    this.generation.events.push({ ...event, ...logprobs });
    return reason ?? (this.tokenIds.length >= maxTokens ? "length" : undefined);
  }

  /** The logits of the tokens that may come now. */
  #permitted(logits: Float32Array, early: boolean): Float32Array {
    const allowed = this.#constraint?.allowed();
    // The end of a grammar's text is no stop that could wait.
    const banned = early && !allowed ? this.#options.stopIds : [];
    return allowed || early ? maskLogits(logits, allowed, banned) : logits;
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

/** The temperature of sampling that depends on nothing but the logits and it. */
function plainTemperature(params: SamplingParams): number | undefined {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, logitBias = {} } = params;
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = params;
  const penalized = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
  const filtered = temperature > 0 && (topK > 0 || topP < 1 || minP > 0);
  const plain = !penalized && !filtered && Object.keys(logitBias).length === 0;
  return plain ? temperature : undefined;
}
