import type { CapturedCache } from "./captured-cache.ts";
import type { Choice } from "./choice.ts";
import { EventQueue } from "./event-queue.ts";
import type {
  FinishReason,
  GenerationChoice,
  GenerationEvent,
  GenerationResult,
  KvUsage,
} from "./generation-event.ts";
import type { PromptLogprob } from "./prompt-scores.ts";

/** What `generate` returns: iterate it for tokens, or await `result`. */
export interface GenerationStream extends AsyncIterable<GenerationEvent> {
  readonly result: Promise<GenerationResult>;
  /**
   * One entry for each prompt token (undefined for the first), complete when the first event comes;
   * undefined unless the request asked for it.
   */
  readonly promptLogprobs: readonly (PromptLogprob | undefined)[] | undefined;
  /** Prompt tokens that were found in the cache; known when the first event comes. */
  readonly cachedTokens: number;
}

/** The engine's side of one request: its events, its result and whether it still wants to run. */
export class Generation {
  readonly events: EventQueue<GenerationEvent>;
  readonly result: Promise<GenerationResult>;
  readonly submittedAt = performance.now();
  /** By index. */
  readonly choices: Choice[] = [];
  /** The prompt's cache, where that is what was asked for. */
  captured: CapturedCache | undefined;
  /** Prompt tokens that were found in the cache when it was admitted. */
  cachedTokens = 0;
  /** When it was admitted for the first time. */
  startedAt: number | undefined;
  readonly #promptTokens: number;
  readonly #ended: (GenerationChoice | undefined)[];
  #settle!: {
    resolve: (result: GenerationResult) => void;
    reject: (error: unknown) => void;
  };

  constructor(promptTokens: number, numChoices: number, onReturn: () => void) {
    this.#promptTokens = promptTokens;
    this.#ended = Array.from({ length: numChoices }, () => undefined);
    this.events = new EventQueue(onReturn);
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Whoever only iterates hears of the error there.
    this.result.catch(() => {});
  }

  get stream(): GenerationStream {
    const { events, result } = this;
    const cachedTokens = () => this.cachedTokens;
    return {
      result,
      promptLogprobs: this.choices[0]?.promptScores?.logprobs,
      get cachedTokens() {
        return cachedTokens();
      },
      [Symbol.asyncIterator]: () => events[Symbol.asyncIterator](),
    };
  }

  end(choice: Choice, finishReason: FinishReason, kv: KvUsage, cachedTokens: number): void {
    if (choice.ended) return;
    choice.ended = true;
    const now = performance.now();
    const text = choice.flush();
    const first = choice.firstTokenAt || now;
    const ended = {
      index: choice.index,
      finishReason,
      stoppedBy: choice.stoppedBy,
      usage: {
        promptTokens: this.#promptTokens,
        completionTokens: choice.tokenIds.length,
        cachedTokens,
      },
      kv,
      timings: {
        ttftMs: first - this.submittedAt,
        prefillMs: first - (this.startedAt ?? now),
        decodeMs: now - first,
      },
    };
    this.events.push({ type: "end", text, ...ended });
    this.#ended[choice.index] = {
      ...ended,
      text: choice.text,
      tokenIds: Int32Array.from(choice.tokenIds),
    };
    const choices = this.#ended.filter((one) => one !== undefined);
    if (choices.length < this.#ended.length) return;
    this.events.close();
    this.#settle.resolve({ ...choices[0]!, choices });
  }

  fail(error: unknown): void {
    this.events.fail(error);
    this.#settle.reject(error);
  }
}
