import type { EndEvent, GenerationStream } from "@kvcache/engine";
import {
  finishReason,
  piecesOf,
  promptLogprobsBody,
  stopReason,
  usageOf,
  usageSoFar,
  wholeChoices,
} from "../answer.ts";
import { unsupportedField } from "../api-error.ts";
import { chatPrompt } from "../chat-prompt.ts";
import type { HttpContext, Routes } from "../context.ts";
import type { EventStream } from "../event-stream.ts";
import type { Admission } from "../fleet.ts";
import { defined, generationRequest } from "../generation-request.ts";
import { policyName } from "../kv-plan.ts";
import { chatLogprobs } from "../logprobs.ts";
import { answerId, unixSeconds, withAdmission } from "../request-scope.ts";
import { type ChatRequest, chatCompletion, chatRequest } from "../schemas/chat.ts";
import { errorResponses } from "../schemas/error.ts";
import type { ServedModel } from "../served-model.ts";
import { type RestoredSnapshot, snapshotOf } from "../snapshots/restore.ts";
import { callSplitter, type ParsedAnswer, parseCalls } from "../tools/parse-calls.ts";
import { type ToolUse, toolUseOf } from "../tools/tool-use.ts";

/** A chat that runs, and what its answer needs to know. */
interface ChatRun {
  readonly body: ChatRequest;
  readonly model: ServedModel;
  readonly ids: Int32Array;
  readonly stream: GenerationStream;
  readonly toolUse: ToolUse | undefined;
  readonly policy: string;
  /** Fields that every chunk shares. */
  readonly head: { readonly id: string; readonly created: number; readonly model: string };
}

function startChat(
  body: ChatRequest,
  { model, signal }: Admission,
  id: string,
  snapshot: RestoredSnapshot | undefined,
): ChatRun {
  const toolUse = toolUseOf(body, model);
  const grammar = model.structured.of(body, body.response_format);
  if (grammar && toolUse)
    throw unsupportedField("response_format", "response_format cannot be joined with tools.");
  if (body.stream && typeof body.prompt_logprobs === "number")
    throw unsupportedField("prompt_logprobs", "prompt_logprobs are not streamed.");
  const { ids, compressAfter, pin } = chatPrompt(body, model, toolUse);
  const request = generationRequest(body, model, {
    prompt: ids,
    signal,
    snapshot,
    maxTokens: body.max_completion_tokens ?? body.max_tokens,
    logprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    promptLogprobs: body.prompt_logprobs,
    grammar: toolUse?.forced?.grammar ?? grammar,
    compressAfter,
    pin,
    keepSpecialTokens: toolUse !== undefined,
  });
  const head = { id, created: unixSeconds(), model: model.id };
  const policy = policyName(request.plan!);
  return { body, model, ids, stream: model.generate(request), toolUse, policy, head };
}

/** The calls of an answer in the API's form. */
const callsBody = ({ calls }: ParsedAnswer, { maxCalls }: ToolUse, id: string) =>
  calls.slice(0, maxCalls).map((call, i) => ({
    id: `call_${id.slice(-24)}_${i}`,
    type: "function" as const,
    function: call,
  }));

async function wholeChat({ body, model, stream, toolUse, policy, head }: ChatRun) {
  const choices = await wholeChoices(stream);
  return {
    ...head,
    object: "chat.completion" as const,
    choices: choices.map(({ text, tokens, end }, index) => {
      const written = (toolUse?.forced?.begin ?? "") + text;
      const parsed = toolUse ? parseCalls(written, toolUse.format) : undefined;
      const calls = parsed && callsBody(parsed, toolUse!, `${head.id}${index}`);
      const called = (calls?.length ?? 0) > 0;
      return {
        index,
        message: {
          role: "assistant" as const,
          content: called ? parsed!.content || null : text,
          ...(called ? { tool_calls: calls } : {}),
        },
        logprobs: body.logprobs ? { content: chatLogprobs(tokens, model) } : null,
        finish_reason: called ? ("tool_calls" as const) : finishReason(end),
        stop_reason: stopReason(end, model),
      };
    }),
    usage: usageOf([choices.map(({ end }) => end)], policy),
    ...defined({
      prompt_logprobs: promptLogprobsBody(stream.promptLogprobs, model),
      kv_transfer_params: body.kv_transfer_params,
    }),
  };
}

async function streamChat(run: ChatRun, events: EventStream): Promise<void> {
  const { body, model, stream, toolUse, policy, head } = run;
  const { include_usage, continuous_usage_stats } = body.stream_options ?? {};
  const ends: EndEvent[] = [];
  const begun = new Set<number>();
  const splitters = new Map<number, ReturnType<typeof callSplitter>>();
  let generated = 0;
  const send = (choices: unknown[], usage: unknown = null) =>
    events.send({
      ...head,
      object: "chat.completion.chunk",
      choices,
      ...(include_usage || continuous_usage_stats ? { usage } : {}),
    });

  for await (const { index, text, tokens, end } of piecesOf(stream)) {
    generated += tokens.length;
    if (!begun.has(index)) {
      begun.add(index);
      if (toolUse) splitters.set(index, callSplitter(toolUse.format));
      splitters.get(index)?.push(toolUse?.forced?.begin ?? "");
      const delta = { role: "assistant", content: "" };
      await send([{ index, delta, logprobs: null, finish_reason: null }]);
    }
    const splitter = splitters.get(index);
    let content = splitter ? splitter.push(text) : text;
    let calls: ReturnType<typeof callsBody> = [];
    if (end && splitter) {
      const parsed = splitter.end();
      content += parsed.content;
      calls = callsBody(parsed, toolUse!, `${head.id}${index}`);
    }
    if (end) ends.push(end);
    const silent = content === "" && calls.length === 0 && !(body.logprobs && tokens.length > 0);
    if (silent && !end) continue;
    const usage = continuous_usage_stats ? usageSoFar([run], generated) : null;
    const finish = calls.length > 0 ? "tool_calls" : end ? finishReason(end) : null;
    await send(
      [
        {
          index,
          delta: {
            ...(content === "" ? {} : { content }),
            ...(calls.length > 0 ? { tool_calls: calls.map((c, i) => ({ index: i, ...c })) } : {}),
          },
          logprobs: body.logprobs ? { content: chatLogprobs(tokens, model) } : null,
          finish_reason: finish,
          ...(end ? { stop_reason: stopReason(end, model) } : {}),
        },
      ],
      usage,
    );
  }
  if (include_usage) await send([], usageOf([ends], policy));
  events.done();
}

export const chatRoutes: Routes = (context: HttpContext) => async (app) => {
  app.post(
    "/v1/chat/completions",
    {
      schema: {
        summary: "Answer a chat",
        tags: ["generation"],
        body: chatRequest,
        response: { 200: chatCompletion, ...errorResponses },
      },
    },
    (request, reply) =>
      withAdmission(context, request, reply, chatRequest, async (admission) => {
        const { body } = request;
        const snapshot = await snapshotOf(context, body, admission.model);
        const run = startChat(body, admission, answerId("chatcmpl", request), snapshot);
        if (context.logPrompts) request.log.info({ messages: body.messages }, "prompt");
        return body.stream ? (events) => streamChat(run, events) : wholeChat(run);
      }),
  );
};
