import type { GenerationStream } from "@kvcache/engine";
import { finishReason, piecesOf, usageOf, wholeChoices } from "../answer.ts";
import { unsupportedField } from "../api-error.ts";
import { chatPrompt } from "../chat-prompt.ts";
import type { HttpContext, Routes } from "../context.ts";
import type { EventStream } from "../event-stream.ts";
import type { Admission } from "../fleet.ts";
import { generationRequest } from "../generation-request.ts";
import { policyName } from "../kv-plan.ts";
import { answerId, unixSeconds, withAdmission } from "../request-scope.ts";
import { errorResponses } from "../schemas/error.ts";
import type { UsageBody } from "../schemas/generation.ts";
import {
  type ResponsesRequest,
  responsesRequest,
  responsesResponse,
} from "../schemas/responses.ts";
import type { ServedModel } from "../served-model.ts";

interface ResponseRun {
  readonly stream: GenerationStream;
  readonly policy: string;
  readonly head: ReturnType<typeof headOf>;
  readonly itemId: string;
}

const headOf = (id: string, { id: model }: ServedModel, body: ResponsesRequest) => ({
  id,
  object: "response" as const,
  created_at: unixSeconds(),
  model,
  instructions: body.instructions ?? null,
  metadata: body.metadata ?? {},
  parallel_tool_calls: false,
  temperature: body.temperature ?? null,
  top_p: body.top_p ?? null,
  max_output_tokens: body.max_output_tokens ?? null,
  tool_choice: "none" as const,
  tools: [],
});

function startResponse(
  body: ResponsesRequest,
  { model, signal }: Admission,
  id: string,
): ResponseRun {
  const { input, instructions, text } = body;
  if (body.kv?.snapshot)
    throw unsupportedField("kv.snapshot", "Snapshots are restored by chat and completions only.");
  const given = typeof input === "string" ? [{ role: "user", content: input }] : input;
  const system = instructions ? [{ role: "system", content: instructions }] : [];
  const format = text?.format;
  const { ids, compressAfter } = chatPrompt(
    { messages: [...system, ...given], kv: body.kv },
    model,
  );
  const request = generationRequest(body, model, {
    prompt: ids,
    signal,
    maxTokens: body.max_output_tokens,
    compressAfter,
    grammar: model.structured.of(
      {},
      format?.type === "json_schema" ? { type: "json_schema", json_schema: format } : format,
    ),
  });
  return {
    stream: model.generate(request),
    policy: policyName(request.plan!),
    head: headOf(id, model, body),
    itemId: `msg_${id.slice(-32)}`,
  };
}

const usageBody = ({ prompt_tokens, completion_tokens, ...usage }: UsageBody) => ({
  input_tokens: prompt_tokens,
  input_tokens_details: usage.prompt_tokens_details,
  output_tokens: completion_tokens,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: usage.total_tokens,
  kv: usage.kv,
});

const itemOf = (id: string, text: string, status: "completed" | "incomplete") => ({
  id,
  type: "message" as const,
  role: "assistant" as const,
  status,
  content: [{ type: "output_text" as const, text, annotations: [] }],
});

/** A response that has ended. */
function ended({ head, itemId }: ResponseRun, text: string, cut: boolean, usage: UsageBody) {
  const status = cut ? ("incomplete" as const) : ("completed" as const);
  return {
    ...head,
    status,
    error: null,
    incomplete_details: cut ? { reason: "max_output_tokens" as const } : null,
    output: [itemOf(itemId, text, status)],
    usage: usageBody(usage),
  };
}

async function wholeResponse(run: ResponseRun) {
  const [choice] = await wholeChoices(run.stream);
  const { text, end } = choice!;
  return ended(run, text, finishReason(end) === "length", usageOf([[end]], run.policy));
}

async function streamResponse(run: ResponseRun, events: EventStream): Promise<void> {
  const { head, itemId } = run;
  let sequence_number = 0;
  const send = (type: string, fields: object) =>
    events.send({ type, sequence_number: sequence_number++, ...fields }, type);
  const open = { ...head, status: "in_progress", error: null, output: [], usage: null };
  const place = { item_id: itemId, output_index: 0, content_index: 0 };
  const part = (text: string) => ({ type: "output_text", text, annotations: [] });
  await send("response.created", { response: open });
  await send("response.in_progress", { response: open });
  const item = { ...itemOf(itemId, "", "completed"), status: "in_progress", content: [] };
  await send("response.output_item.added", { output_index: 0, item });
  await send("response.content_part.added", { ...place, part: part("") });
  let text = "";
  for await (const piece of piecesOf(run.stream)) {
    text += piece.text;
    if (piece.text !== "")
      await send("response.output_text.delta", { ...place, delta: piece.text });
    if (!piece.end) continue;
    const cut = finishReason(piece.end) === "length";
    const response = ended(run, text, cut, usageOf([[piece.end]], run.policy));
    await send("response.output_text.done", { ...place, text });
    await send("response.content_part.done", { ...place, part: part(text) });
    await send("response.output_item.done", { output_index: 0, item: response.output[0] });
    await send(cut ? "response.incomplete" : "response.completed", { response });
  }
  events.done("");
}

export const responseRoutes: Routes = (context: HttpContext) => async (app) => {
  app.post(
    "/v1/responses",
    {
      schema: {
        summary: "Answer, in the form of the Responses API (text only)",
        tags: ["generation"],
        body: responsesRequest,
        response: { 200: responsesResponse, ...errorResponses },
      },
    },
    (request, reply) =>
      withAdmission(context, request, reply, responsesRequest, async (admission) => {
        const { body } = request;
        const run = startResponse(body, admission, answerId("resp", request));
        if (context.logPrompts) request.log.info({ input: body.input }, "prompt");
        return body.stream ? (events) => streamResponse(run, events) : wholeResponse(run);
      }),
  );
};
