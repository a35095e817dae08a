import { z } from "zod";
import { cacheControl, maybe, notServed, onlyNeutral } from "./fields.ts";
import { generationFields, responseFormat, usage } from "./generation.ts";

const textPart = z.looseObject({
  type: z.enum(["text", "input_text", "output_text", "refusal"], {
    error: "is not served: messages hold text only",
  }),
  cache_control: maybe(cacheControl),
});
const content = z.union([z.string(), z.array(textPart).max(4096)]);

const toolCall = z.looseObject({
  id: maybe(z.string()),
  type: maybe(z.literal("function")),
  function: z.looseObject({ name: z.string(), arguments: z.string() }),
});

const message = z
  .looseObject({
    role: z.string().min(1).max(64),
    content: maybe(content),
    cache_control: maybe(cacheControl, "Keeps the prompt up to here in the cache longer"),
    name: maybe(z.string()),
    tool_calls: maybe(z.array(toolCall).max(128)),
    tool_call_id: maybe(z.string()),
    audio: notServed("messages hold text only"),
    function_call: notServed("use tool_calls"),
  })
  .refine(({ content, tool_calls }) => content != null || (tool_calls?.length ?? 0) > 0, {
    error: "a message needs content or tool_calls",
    path: ["content"],
  });

export const messages = z.array(message).min(1).max(4096);

const tool = z.looseObject({
  type: z.literal("function", { error: "is not served: tools are functions" }),
  function: z.looseObject({
    name: z.string().regex(/^[\w.-]{1,128}$/),
    description: maybe(z.string()),
    parameters: maybe(z.record(z.string(), z.unknown())),
    strict: maybe(z.boolean()),
  }),
});

const toolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.looseObject({ type: z.literal("function"), function: z.looseObject({ name: z.string() }) }),
]);

export const chatRequest = z
  .looseObject({
    ...generationFields,
    messages,
    max_completion_tokens: maybe(z.int().min(1)),
    logprobs: maybe(z.boolean()),
    top_logprobs: maybe(z.int().min(0).max(20)),
    response_format: maybe(responseFormat),
    tools: maybe(z.array(tool).max(128)),
    tool_choice: maybe(toolChoice),
    parallel_tool_calls: maybe(z.boolean(), "false: at most one call"),
    add_generation_prompt: maybe(z.boolean()),
    continue_final_message: maybe(z.boolean()),
    chat_template_kwargs: maybe(z.record(z.string(), z.unknown()), "Variables of the template"),
    documents: maybe(z.array(z.record(z.string(), z.unknown())).max(1024)),
    service_tier: maybe(z.enum(["auto", "default"])),
    safety_identifier: maybe(z.string()),
    store: onlyNeutral(false, "answers are not stored"),
    chat_template: notServed("the model's own template is used"),
    echo: onlyNeutral(false, "completions echo"),
    functions: notServed("use tools"),
    function_call: notServed("use tool_choice"),
    modalities: maybe(z.array(z.literal("text", { error: "is not served: text only" }))),
    audio: notServed("text only"),
    prediction: notServed("there is no speculative decoding"),
    reasoning_effort: notServed("set the template's own variable in chat_template_kwargs"),
    verbosity: notServed("say it in the prompt"),
    web_search_options: notServed("there is no web search"),
  })
  .describe("Chat completion request");

const logprob = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.number()).nullable(),
});
export const chatLogprobs = z.object({
  content: z.array(logprob.extend({ top_logprobs: z.array(logprob) })),
});

const answeredCall = z.object({
  id: z.string(),
  type: z.literal("function"),
  function: z.object({ name: z.string(), arguments: z.string() }),
});

export const chatCompletion = z.object({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.number(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.number(),
      message: z.object({
        role: z.literal("assistant"),
        content: z.string().nullable(),
        tool_calls: z.array(answeredCall).optional(),
      }),
      logprobs: chatLogprobs.nullable(),
      finish_reason: z.enum(["stop", "length", "tool_calls"]),
      stop_reason: z.union([z.string(), z.number()]).nullable(),
    }),
  ),
  usage,
  prompt_logprobs: z.array(z.unknown()).optional(),
  kv_transfer_params: z.record(z.string(), z.unknown()).optional(),
});

export type ChatRequest = z.infer<typeof chatRequest>;
export type ChatRequestMessage = z.infer<typeof message>;
export type ChatTool = z.infer<typeof tool>;
export type ChatLogprob = z.infer<typeof chatLogprobs>["content"][number];
