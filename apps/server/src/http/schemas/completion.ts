import { z } from "zod";
import { maybe, notServed, tokenIds } from "./fields.ts";
import { generationFields, responseFormat, usage } from "./generation.ts";

const MAX_PROMPTS = 128;

export const completionRequest = z
  .looseObject({
    ...generationFields,
    prompt: z
      .union([
        z.string(),
        z.array(z.string()).min(1).max(MAX_PROMPTS),
        tokenIds.min(1),
        z.array(tokenIds.min(1)).min(1).max(MAX_PROMPTS),
      ])
      .describe("Text, token ids, or a list of either"),
    echo: maybe(z.boolean(), "Begin with the prompt, and its logprobs where they are asked for"),
    logprobs: maybe(z.int().min(0).max(20)),
    add_special_tokens: maybe(z.boolean()),
    response_format: maybe(responseFormat),
    suffix: notServed("there is no fill-in-the-middle"),
    prompt_embeds: notServed("prompts are text or token ids"),
  })
  .describe("Completion request");

export const completionLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(z.number()),
});

export const completion = z.object({
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.number(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.number(),
      text: z.string(),
      logprobs: completionLogprobs.nullable(),
      finish_reason: z.enum(["stop", "length"]),
      stop_reason: z.union([z.string(), z.number()]).nullable(),
      prompt_logprobs: z.array(z.unknown()).optional(),
    }),
  ),
  usage,
  kv_transfer_params: z.record(z.string(), z.unknown()).optional(),
});

export type CompletionRequest = z.infer<typeof completionRequest>;
export type CompletionLogprobs = z.infer<typeof completionLogprobs>;
