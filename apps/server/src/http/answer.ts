import type {
  EndEvent,
  GenerationEvent,
  GenerationStream,
  PromptLogprob,
  TokenEvent,
} from "@kvcache/engine";
import { unavailable } from "./api-error.ts";
import type { UsageBody } from "./schemas/generation.ts";
import type { ServedModel } from "./served-model.ts";

/** A piece of an answer: text that is complete, and the tokens that made it. */
export interface AnswerPiece {
  readonly index: number;
  readonly text: string;
  readonly tokens: readonly TokenEvent[];
  /** Present in the last piece of a choice. */
  readonly end?: EndEvent;
}

/**
 * The events of a stream as pieces: tokens that complete no text wait for the next one, and the id
 * that stopped an answer is no part of it. Throws 503 where the server stopped it.
 */
export async function* piecesOf(
  stream: AsyncIterable<GenerationEvent>,
): AsyncGenerator<AnswerPiece> {
  const waiting = new Map<number, TokenEvent[]>();
  for await (const event of stream) {
    const { index, text } = event;
    const tokens = waiting.get(index) ?? [];
    waiting.set(index, tokens);
    if (event.type === "token") {
      tokens.push(event);
      if (text === "") continue;
      waiting.delete(index);
      yield { index, text, tokens };
    } else {
      if (event.finishReason === "abort") throw unavailable("The request was aborted.");
      const last = tokens.at(-1);
      if (last && last.text === "" && last.tokenId === event.stoppedBy) tokens.pop();
      yield { index, text, tokens, end: event };
    }
  }
}

/** A whole choice. */
export interface WholeChoice {
  readonly text: string;
  readonly tokens: readonly TokenEvent[];
  readonly end: EndEvent;
}

/** All choices of a stream, by index. */
export async function wholeChoices(stream: GenerationStream): Promise<WholeChoice[]> {
  const choices: { text: string; tokens: TokenEvent[]; end?: EndEvent }[] = [];
  for await (const { index, text, tokens, end } of piecesOf(stream)) {
    choices[index] ??= { text: "", tokens: [] };
    const choice = choices[index];
    choice.text += text;
    choice.tokens.push(...tokens);
    if (end) choice.end = end;
  }
  return choices.map(({ end, ...rest }) => ({ ...rest, end: end! }));
}

/** What the API calls the end of an answer. */
export const finishReason = (end: EndEvent): "stop" | "length" =>
  end.finishReason === "length" ? "length" : "stop";

/** What stopped an answer, where it is not the model's own end. */
export function stopReason(end: EndEvent, { run }: ServedModel): string | number | null {
  const { stoppedBy } = end;
  if (stoppedBy === undefined) return null;
  const ours = run.model.generationConfig.eosTokenIds as readonly (number | string)[];
  return ours.includes(stoppedBy) ? null : stoppedBy;
}

/** Tokens and cache of a request: of its prompts and all their choices. */
export function usageOf(
  requests: readonly (readonly EndEvent[])[],
  policy: string,
  generated?: number,
): UsageBody {
  const ends = requests.flat();
  const sum = (read: (end: EndEvent) => number, over: readonly EndEvent[]) =>
    over.reduce((total, end) => total + read(end), 0);
  const most = (read: (end: EndEvent) => number) => Math.max(0, ...ends.map(read));
  const firsts = requests.flatMap((choices) => choices.slice(0, 1));
  const prompt_tokens = sum(({ usage }) => usage.promptTokens, firsts);
  const completion_tokens = generated ?? sum(({ usage }) => usage.completionTokens, ends);
  const cached_tokens = sum(({ usage }) => usage.cachedTokens, firsts);
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens },
    kv: {
      policy,
      tokens_seen: most(({ kv }) => kv.tokensSeen),
      tokens_kept: most(({ kv }) => kv.tokensKept),
      bytes_peak: most(({ kv }) => kv.bytesPeak),
      bytes_now: most(({ kv }) => kv.bytesNow),
      compressions: most(({ kv }) => kv.compressions),
    },
  };
}

/** Tokens of an answer that is still being written. */
export function usageSoFar(
  prompts: readonly { readonly ids: Int32Array; readonly stream: GenerationStream }[],
  completion_tokens: number,
) {
  const prompt_tokens = prompts.reduce((sum, { ids }) => sum + ids.length, 0);
  const cached_tokens = prompts.reduce((sum, { stream }) => sum + stream.cachedTokens, 0);
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens },
  };
}

/** vLLM's form: for each prompt token the candidates by id. */
export const promptLogprobsBody = (
  logprobs: readonly (PromptLogprob | undefined)[] | undefined,
  model: ServedModel,
) =>
  logprobs?.map((scored) => {
    if (!scored) return null;
    const own = { tokenId: scored.tokenId, logprob: scored.logprob, rank: scored.rank };
    const others = scored.topLogprobs.map((one, i) => ({ ...one, rank: i + 1 }));
    return Object.fromEntries(
      [...others, own].map(({ tokenId, logprob, rank }) => [
        tokenId,
        { logprob, rank, decoded_token: model.tokenText(tokenId) },
      ]),
    );
  });
