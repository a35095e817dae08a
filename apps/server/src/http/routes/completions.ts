import type { EndEvent, GenerationStream } from "@kvcache/engine";
import {
  type AnswerPiece,
  finishReason,
  piecesOf,
  promptLogprobsBody,
  stopReason,
  usageOf,
  usageSoFar,
  wholeChoices,
} from "../answer.ts";
import { invalidField, unsupportedField } from "../api-error.ts";
import type { HttpContext, Routes } from "../context.ts";
import type { EventStream } from "../event-stream.ts";
import type { Admission } from "../fleet.ts";
import { defined, generationRequest } from "../generation-request.ts";
import { policyName } from "../kv-plan.ts";
import { completionLogprobs } from "../logprobs.ts";
import { answerId, unixSeconds, withAdmission } from "../request-scope.ts";
import { type CompletionRequest, completion, completionRequest } from "../schemas/completion.ts";
import { errorResponses } from "../schemas/error.ts";
import type { ServedModel } from "../served-model.ts";
import { type RestoredSnapshot, snapshotOf } from "../snapshots/restore.ts";

const DEFAULT_MAX_TOKENS = 16;

/** One of a request's prompts, running. */
interface PromptRun {
  readonly ids: Int32Array;
  readonly text: string;
  readonly stream: GenerationStream;
}

interface CompletionRun {
  readonly body: CompletionRequest;
  readonly model: ServedModel;
  readonly prompts: readonly PromptRun[];
  readonly policy: string;
  readonly head: { readonly id: string; readonly created: number; readonly model: string };
}

function idsOf(
  { prompt, add_special_tokens }: CompletionRequest,
  model: ServedModel,
): Int32Array[] {
  const list = typeof prompt === "string" || typeof prompt[0] === "number" ? [prompt] : prompt;
  return (list as readonly (string | number[])[]).map((one) =>
    typeof one === "string"
      ? model.tokenizer.encode(one, { addSpecialTokens: add_special_tokens ?? true })
      : Int32Array.from(one),
  );
}

function startCompletion(
  body: CompletionRequest,
  { model, signal }: Admission,
  id: string,
  snapshot: RestoredSnapshot | undefined,
): CompletionRun {
  const { prompt_logprobs, logprobs, echo } = body;
  if (body.stream && typeof prompt_logprobs === "number")
    throw unsupportedField("prompt_logprobs", "prompt_logprobs are not streamed.");
  const echoed = echo ? (logprobs ?? undefined) : undefined;
  const wanted = [prompt_logprobs, echoed].filter((n) => typeof n === "number");
  const promptLogprobs = wanted.length > 0 ? Math.max(...wanted) : undefined;
  const maxTokens = body.max_tokens ?? DEFAULT_MAX_TOKENS;
  if (maxTokens === 0 && promptLogprobs === undefined)
    throw invalidField(
      "max_tokens",
      "max_tokens may be 0 only to score the prompt: with echo and logprobs.",
    );
  const all = idsOf(body, model);
  if (all.length * (body.n ?? 1) > 128)
    throw invalidField("n", "A request may have 128 answers in all.");
  const requests = all.map((ids) =>
    generationRequest(body, model, {
      prompt: ids,
      signal,
      snapshot,
      maxTokens,
      logprobs,
      promptLogprobs,
      grammar: model.structured.of(body, body.response_format),
      compressAfter: body.kv?.compressAfter ?? undefined,
    }),
  );
  const texts = body.echo ? all.map((ids) => model.tokenizer.decode(ids)) : [];
  const prompts: PromptRun[] = requests.map((request, i) => ({
    ids: all[i]!,
    text: texts[i] ?? "",
    stream: model.generate(request),
  }));
  const policy = policyName(requests[0]!.plan!);
  return { body, model, prompts, policy, head: { id, created: unixSeconds(), model: model.id } };
}

/** Logprobs of an echoed prompt and of tokens behind it; null where nobody asked. */
function logprobsOf(
  { body, model }: CompletionRun,
  { ids, text, stream }: PromptRun,
  echo: boolean,
  tokens: AnswerPiece["tokens"],
  offset: number,
) {
  if (typeof body.logprobs !== "number") return null;
  const scored = echo
    ? Array.from(ids, (tokenId, i) => stream.promptLogprobs?.[i] ?? { tokenId })
    : [];
  const prompt = completionLogprobs(scored, model, 0);
  const answer = completionLogprobs(tokens, model, echo ? text.length : offset);
  return {
    tokens: [...prompt.tokens, ...answer.tokens],
    token_logprobs: [...prompt.token_logprobs, ...answer.token_logprobs],
    top_logprobs: [...prompt.top_logprobs, ...answer.top_logprobs],
    text_offset: [...prompt.text_offset, ...answer.text_offset],
  };
}

async function wholeCompletion(run: CompletionRun) {
  const { body, model, prompts, policy, head } = run;
  const answers = await Promise.all(prompts.map(({ stream }) => wholeChoices(stream)));
  const n = body.n ?? 1;
  return {
    ...head,
    object: "text_completion" as const,
    choices: answers.flatMap((choices, p) =>
      choices.map(({ text, tokens, end }, i) => ({
        index: p * n + i,
        text: prompts[p]!.text + text,
        logprobs: logprobsOf(run, prompts[p]!, body.echo === true, tokens, 0),
        finish_reason: finishReason(end),
        stop_reason: stopReason(end, model),
        ...(typeof body.prompt_logprobs === "number"
          ? { prompt_logprobs: promptLogprobsBody(prompts[p]!.stream.promptLogprobs, model)! }
          : {}),
      })),
    ),
    usage: usageOf(
      answers.map((choices) => choices.map(({ end }) => end)),
      policy,
    ),
    ...defined({ kv_transfer_params: body.kv_transfer_params }),
  };
}

async function streamCompletion(run: CompletionRun, events: EventStream): Promise<void> {
  const { body, model, prompts, policy, head } = run;
  const { include_usage, continuous_usage_stats } = body.stream_options ?? {};
  const n = body.n ?? 1;
  const ends: EndEvent[][] = prompts.map(() => []);
  let generated = 0;
  const send = (choices: unknown[], usage: unknown = null) =>
    events.send({
      ...head,
      object: "text_completion",
      choices,
      ...(include_usage || continuous_usage_stats ? { usage } : {}),
    });
  await Promise.all(
    prompts.map(async (prompt, p) => {
      const offsets = new Map<number, number>();
      for await (const { index, text, tokens, end } of piecesOf(prompt.stream)) {
        const echo = body.echo === true && !offsets.has(index);
        const offset = offsets.get(index) ?? 0;
        const shown = (echo ? prompt.text : "") + text;
        offsets.set(index, offset + shown.length);
        if (end) ends[p]!.push(end);
        generated += tokens.length;
        const usage = continuous_usage_stats ? usageSoFar(prompts, generated) : null;
        const choice = {
          index: p * n + index,
          text: shown,
          logprobs: logprobsOf(run, prompt, echo, tokens, offset),
          finish_reason: end ? finishReason(end) : null,
          stop_reason: end ? stopReason(end, model) : null,
        };
        await send([choice], usage);
      }
    }),
  );
  if (include_usage) await send([], usageOf(ends, policy));
  events.done();
}

export const completionRoutes: Routes = (context: HttpContext) => async (app) => {
  app.post(
    "/v1/completions",
    {
      schema: {
        summary: "Continue text",
        tags: ["generation"],
        body: completionRequest,
        response: { 200: completion, ...errorResponses },
      },
    },
    (request, reply) =>
      withAdmission(context, request, reply, completionRequest, async (admission) => {
        const { body } = request;
        const snapshot = await snapshotOf(context, body, admission.model);
        const run = startCompletion(body, admission, answerId("cmpl", request), snapshot);
        if (context.logPrompts) request.log.info({ prompt: body.prompt }, "prompt");
        return body.stream ? (events) => streamCompletion(run, events) : wholeCompletion(run);
      }),
  );
};
