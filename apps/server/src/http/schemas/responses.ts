import { z } from "zod";
import { chatRequest } from "./chat.ts";
import { maybe, notServed, onlyNeutral } from "./fields.ts";
import { generationFields } from "./generation.ts";
import { kvUsage } from "./kv.ts";

const inputMessage = chatRequest.shape.messages.element.and(
  z.looseObject({
    type: z.literal("message", { error: "is not served: input holds messages only" }).nullish(),
  }),
);

const {
  max_tokens: _,
  stream_options: __,
  n: ___,
  prompt_logprobs: ____,
  ...shared
} = generationFields;

export const responsesRequest = z
  .looseObject({
    ...shared,
    input: z.union([z.string(), z.array(inputMessage).min(1).max(4096)]),
    instructions: maybe(z.string()),
    max_output_tokens: maybe(z.int().min(1)),
    text: maybe(
      z.looseObject({
        format: maybe(
          z.discriminatedUnion("type", [
            z.looseObject({ type: z.literal("text") }),
            z.looseObject({ type: z.literal("json_object") }),
            z.looseObject({
              type: z.literal("json_schema"),
              name: maybe(z.string()),
              schema: z.record(z.string(), z.unknown()),
              strict: maybe(z.boolean()),
            }),
          ]),
        ),
      }),
    ),
    store: onlyNeutral(false, "responses are not stored"),
    background: onlyNeutral(false, "responses are not stored"),
    truncation: onlyNeutral("disabled", "a prompt is never cut silently"),
    include: maybe(z.array(z.never({ error: "is not served: nothing can be included" }))),
    tools: maybe(z.array(z.never({ error: "is not served: use /v1/chat/completions" }))),
    tool_choice: maybe(
      z.enum(["none", "auto"], { error: "is not served: there are no tools here" }),
    ),
    top_logprobs: notServed("use /v1/chat/completions"),
    previous_response_id: notServed("responses are not stored; send all messages"),
    conversation: notServed("responses are not stored; send all messages"),
    prompt: notServed("there are no stored prompts"),
    reasoning: notServed("use /v1/chat/completions"),
  })
  .describe("Responses request, the part that is text");

export const responsesResponse = z.object({
  id: z.string(),
  object: z.literal("response"),
  created_at: z.number(),
  model: z.string(),
  status: z.enum(["completed", "incomplete"]),
  error: z.null(),
  incomplete_details: z.object({ reason: z.string() }).nullable(),
  instructions: z.string().nullable(),
  metadata: z.record(z.string(), z.unknown()),
  parallel_tool_calls: z.boolean(),
  temperature: z.number().nullable(),
  top_p: z.number().nullable(),
  max_output_tokens: z.number().nullable(),
  tool_choice: z.literal("none"),
  tools: z.array(z.unknown()),
  output: z.array(
    z.object({
      id: z.string(),
      type: z.literal("message"),
      role: z.literal("assistant"),
      status: z.enum(["completed", "incomplete"]),
      content: z.array(
        z.object({
          type: z.literal("output_text"),
          text: z.string(),
          annotations: z.array(z.unknown()),
        }),
      ),
    }),
  ),
  usage: z.object({
    input_tokens: z.number(),
    input_tokens_details: z.object({ cached_tokens: z.number() }),
    output_tokens: z.number(),
    output_tokens_details: z.object({ reasoning_tokens: z.number() }),
    total_tokens: z.number(),
    kv: kvUsage,
  }),
});

export type ResponsesRequest = z.infer<typeof responsesRequest>;
