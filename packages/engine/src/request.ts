import { type CachePlan, KvCacheError, type PrefixPin, type RopeParameters } from "@kvcache/core";
import type {
  ChatMessage,
  ChatTemplateOptions,
  SamplingParams,
  TokenGrammar,
} from "@kvcache/decoder";
import type { BlockAccount } from "./block-account.ts";
import type { CapturedCache } from "./captured-cache.ts";
import { type Runtime, tokenizerOf } from "./runtime.ts";
import { fits } from "./scheduler.ts";
import type { SequencePlan } from "./sequence-plan.ts";
import type { Session } from "./session.ts";

export interface StopConditions {
  /** Text before the first of them is kept. */
  readonly strings?: readonly string[];
  readonly ids?: readonly number[];
  /** Do not stop at the model's own end-of-sequence ids. */
  readonly ignoreEos?: boolean;
}

export interface ChatPrompt extends ChatTemplateOptions {
  readonly messages: readonly ChatMessage[];
}

export interface GenerationRequest {
  /** Text (special tokens are added), token ids, or messages for the model's chat template. */
  readonly prompt: string | ArrayLike<number> | ChatPrompt;
  /** Default: the model's own, else what is left of its context. 0 only scores the prompt. */
  readonly maxTokens?: number;
  /** Nothing but the grammar's end ends an answer before it has this many tokens. Default 0. */
  readonly minTokens?: number;
  readonly sampling?: SamplingParams;
  readonly stop?: StopConditions;
  /** Every choice is a text of this grammar, compiled for the model's vocabulary. */
  readonly grammar?: TokenGrammar;
  /** Leaves tokens that are marked special out of the text. Default true. */
  readonly skipSpecialTokens?: boolean;
  /** Which tokens stay, how they are stored. Default: all, as the cache does. */
  readonly plan?: CachePlan;
  /**
   * Prompt tokens after which the prefill is compressed; the rest of the prompt is fed afterwards,
   * so that a question there has no part in what is kept. Default: the whole prompt.
   */
  readonly compressAfter?: number;
  /** Keeps the cache of its earlier turns. */
  readonly session?: Session;
  readonly signal?: AbortSignal;
  /** Milliseconds after which it is rejected with `deadline-exceeded`, wherever it stands then. */
  readonly timeout?: number;
  /** Higher runs first, and takes the place of lower ones. Default 0. */
  readonly priority?: number;
  /** Reports each token's log-probability and this many of the likeliest alternatives. */
  readonly logprobs?: number;
  /**
   * Reports the log-probability of each prompt token and this many alternatives. Such a prompt is
   * computed whole: it starts from no cached prefix.
   */
  readonly promptLogprobs?: number;
  /** Choices to generate from one prefill. Default 1. */
  readonly n?: number;
  /** Requests share cached prefixes only with requests of the same salt. */
  readonly cacheSalt?: string;
  /** Starts behind this cache of the prompt's first tokens, made by `capture` with the same plan. */
  readonly from?: CapturedCache;
  /** Asks that the prompt, or its first tokens, stay cached longer than others. */
  readonly pin?: PrefixPin;
}

/** A request that was checked and tokenized. */
export interface ResolvedRequest {
  readonly ids: Int32Array;
  readonly maxTokens: number;
  readonly minTokens: number;
  readonly stopIds: ReadonlySet<number>;
  readonly stopStrings: readonly string[];
  readonly plan: SequencePlan;
  readonly compressAfter: number;
  readonly priority: number;
  readonly n: number;
  readonly cacheSalt: string;
  readonly pin: PrefixPin | undefined;
  /** As `performance.now()` tells. */
  readonly deadline: number;
}

/**
 * Checks everything about a request that can be checked before it runs. Throws `invalid-argument`,
 * `invalid-plan`, `missing-signal`, or `context-length-exceeded` for a prompt that the model, a
 * sequence of the cache or the whole pool can never hold.
 */
export function resolveRequest(
  request: GenerationRequest,
  runtime: Runtime,
  account: BlockAccount,
): ResolvedRequest {
  const { model } = runtime;
  const ids = tokenize(request, runtime);
  const plan = runtime.planOf(request.plan ?? {});
  const n = count("n", request.n ?? 1, 1);
  if (n > 1 && request.session)
    throw new KvCacheError("invalid-argument", `A session continues one choice, not ${n}.`, {
      value: n,
      remedy: "Leave n out, or the session.",
    });
  if (request.from && (request.session || request.promptLogprobs !== undefined))
    throw new KvCacheError(
      "invalid-argument",
      "from needs a request without a session or scores.",
      {
        value: "from",
        remedy: "Leave session and promptLogprobs out, or from.",
      },
    );
  if (request.logprobs !== undefined) count("logprobs", request.logprobs, 0);
  if (request.promptLogprobs !== undefined) {
    count("promptLogprobs", request.promptLogprobs, 0);
    if (request.session)
      throw new KvCacheError("invalid-argument", "A session does not compute its prompt whole.", {
        value: request.promptLogprobs,
        remedy: "Leave promptLogprobs out, or the session.",
      });
  }
  checkBias(request.sampling, model.graph.vocabSize);
  const compressAfter = compressionPoint(request, plan, ids.length);
  const priority = request.priority ?? 0;
  if (!Number.isFinite(priority))
    throw new KvCacheError("invalid-argument", `priority must be finite, got ${priority}.`, {
      value: priority,
    });

  const context = contextLength(runtime, plan);
  const room = context - ids.length;
  const wanted = request.maxTokens ?? model.generationConfig.maxNewTokens;
  const fewest = request.promptLogprobs === undefined ? 1 : 0;
  const maxTokens = wanted === undefined ? room : count("maxTokens", wanted, fewest);
  if (room < Math.min(1, maxTokens)) throw tooLong(ids.length, 1, context);
  if (request.maxTokens !== undefined && maxTokens > room)
    throw tooLong(ids.length, maxTokens, context);
  const first = plan.trigger.prefill ? compressAfter : ids.length;
  const blocks = account.forTokens(first);
  if (!fits(blocks, account.totals) || first > rowCapacity(runtime))
    throw new KvCacheError(
      "context-length-exceeded",
      `A prompt of ${first} tokens takes ${blocks} blocks, the whole cache has ${account.totals} and a row holds ${rowCapacity(runtime)} tokens.`,
      { value: first, remedy: "Shorten the prompt, or create the cache with more memory." },
    );

  const { strings = [], ids: stopIds = [], ignoreEos = false } = request.stop ?? {};
  return {
    ids,
    maxTokens: Math.min(maxTokens, room),
    minTokens: count("minTokens", request.minTokens ?? 0, 0),
    stopIds: new Set([...stopIds, ...(ignoreEos ? [] : model.generationConfig.eosTokenIds)]),
    stopStrings: strings,
    plan,
    compressAfter,
    priority,
    n,
    cacheSalt: request.cacheSalt ?? "",
    pin: checkPin(request.pin),
    deadline: deadlineOf(request),
  };
}

function tokenize({ prompt }: GenerationRequest, { model }: Runtime): Int32Array {
  let ids: Int32Array;
  if (typeof prompt === "string") ids = tokenizerOf(model).encode(prompt);
  else if ("messages" in prompt) {
    const { messages, ...options } = prompt;
    const addGenerationPrompt = options.continueFinalMessage !== true;
    const tokenizer = tokenizerOf(model);
    const text = tokenizer.applyChatTemplate(messages, { addGenerationPrompt, ...options });
    ids = tokenizer.encode(text, { addSpecialTokens: false });
  } else ids = Int32Array.from(prompt);
  if (ids.length === 0)
    throw new KvCacheError("invalid-argument", "The prompt has no tokens.", {
      value: prompt,
      remedy: "Start with the model's beginning-of-sequence token at least.",
    });
  const { vocabSize } = model.graph;
  const bad = ids.find((id) => id < 0 || id >= vocabSize);
  if (bad !== undefined)
    throw new KvCacheError(
      "invalid-argument",
      `Token id ${bad} is outside the vocabulary of ${vocabSize}.`,
      { value: bad },
    );
  return ids;
}

function compressionPoint(
  { compressAfter }: GenerationRequest,
  { policy }: SequencePlan,
  promptLength: number,
): number {
  if (compressAfter === undefined) return promptLength;
  if (!policy?.trigger.prefill)
    throw new KvCacheError(
      "invalid-argument",
      "compressAfter needs a plan whose policy compresses at the end of the prefill.",
      { value: compressAfter, remedy: "Add such a plan, or leave compressAfter out." },
    );
  if (!Number.isSafeInteger(compressAfter) || compressAfter < 1 || compressAfter > promptLength)
    throw new KvCacheError(
      "invalid-argument",
      `compressAfter must be in 1 … ${promptLength}, the prompt's length, got ${compressAfter}.`,
      { value: compressAfter },
    );
  return compressAfter;
}

/**
 * Tokens that a sequence may reach. RoPE kinds that stretch with the length go as far as their
 * factor says; a sequence that keeps everything must also fit a row of the cache.
 */
function contextLength(runtime: Runtime, { policy }: SequencePlan): number {
  const { model } = runtime;
  const reach = ({ scaling, maxPositions }: RopeParameters) =>
    scaling.type === "dynamic" ? Math.floor(maxPositions * scaling.factor) : 0;
  const context = Math.max(model.graph.maxPositions, ...model.graph.ropes.map(reach));
  return policy ? context : Math.min(context, rowCapacity(runtime));
}

/** Tokens that one row of the cache can hold. */
const rowCapacity = ({ cache: { host, layout } }: Runtime): number =>
  host ? host.maxBlocksPerRow * layout.arenas[0]!.blockSize : Number.POSITIVE_INFINITY;

const tooLong = (prompt: number, maxTokens: number, context: number) =>
  new KvCacheError(
    "context-length-exceeded",
    `A prompt of ${prompt} tokens and ${maxTokens} new ones exceed the context of ${context}.`,
    { value: prompt + maxTokens, remedy: "Shorten the prompt or lower maxTokens." },
  );

function deadlineOf({ timeout }: GenerationRequest): number {
  if (timeout === undefined) return Number.POSITIVE_INFINITY;
  if (timeout > 0) return performance.now() + timeout;
  throw new KvCacheError("invalid-argument", `timeout must be positive, got ${timeout}.`, {
    value: timeout,
  });
}

function checkPin(pin: PrefixPin | undefined): PrefixPin | undefined {
  if (!pin) return undefined;
  count("pin.tokens", pin.tokens, 1);
  if (pin.milliseconds > 0 && Number.isFinite(pin.milliseconds)) return pin;
  throw new KvCacheError(
    "invalid-argument",
    `pin.milliseconds must be positive and finite, got ${pin.milliseconds}.`,
    { value: pin.milliseconds },
  );
}

/** Sampling would find this out in the middle of an answer. */
function checkBias({ logitBias = {} }: SamplingParams = {}, vocabSize: number): void {
  const bad = Object.keys(logitBias).find((id) => !(Number(id) < vocabSize));
  if (bad === undefined) return;
  throw new KvCacheError("invalid-argument", `logitBias names token ${bad}, which is none.`, {
    value: bad,
    remedy: `Use ids from 0 to ${vocabSize - 1}.`,
  });
}

function count(name: string, value: number, low: number): number {
  if (Number.isSafeInteger(value) && value >= low) return value;
  throw new KvCacheError("invalid-argument", `${name} must be an integer ≥ ${low}, got ${value}.`, {
    value,
  });
}
