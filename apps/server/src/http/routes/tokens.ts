import { z } from "zod";
import { invalidField } from "../api-error.ts";
import { chatPrompt } from "../chat-prompt.ts";
import type { HttpContext, Routes } from "../context.ts";
import { chatRequest } from "../schemas/chat.ts";
import { errorResponses } from "../schemas/error.ts";
import { maybe, tokenIds } from "../schemas/fields.ts";

const tokenizeRequest = z
  .looseObject({
    model: maybe(z.string()),
    prompt: maybe(z.string()),
    messages: chatRequest.shape.messages.nullish(),
    add_special_tokens: maybe(z.boolean()),
    add_generation_prompt: maybe(z.boolean()),
    continue_final_message: maybe(z.boolean()),
    chat_template_kwargs: chatRequest.shape.chat_template_kwargs,
    return_token_strs: maybe(z.boolean()),
  })
  .describe("Text, or a chat as the model's template writes it");

const tokenizeResponse = z.object({
  count: z.number(),
  max_model_len: z.number(),
  tokens: z.array(z.number()),
  token_strs: z.array(z.string()).nullable(),
});

export const tokenRoutes: Routes =
  ({ fleet }: HttpContext) =>
  async (app) => {
    app.post(
      "/tokenize",
      {
        schema: {
          summary: "The token ids of a text or a chat",
          tags: ["tokens"],
          body: tokenizeRequest,
          response: { 200: tokenizeResponse, ...errorResponses },
        },
      },
      async ({ body }) => {
        const model = fleet.find(body.model);
        const { prompt, messages, add_special_tokens } = body;
        if ((typeof prompt === "string") === Boolean(messages))
          throw invalidField("prompt", "Give either prompt or messages.");
        const ids =
          typeof prompt === "string"
            ? model.tokenizer.encode(prompt, { addSpecialTokens: add_special_tokens ?? true })
            : chatPrompt({ ...body, messages: messages! }, model).ids;
        const tokens = [...ids];
        return {
          count: tokens.length,
          max_model_len: model.maxModelLength,
          tokens,
          token_strs: body.return_token_strs ? tokens.map(model.tokenText) : null,
        };
      },
    );
    app.post(
      "/detokenize",
      {
        schema: {
          summary: "The text of token ids",
          tags: ["tokens"],
          body: z.looseObject({ model: maybe(z.string()), tokens: tokenIds }),
          response: { 200: z.object({ prompt: z.string() }), ...errorResponses },
        },
      },
      async ({ body }) => ({ prompt: fleet.find(body.model).tokenizer.decode(body.tokens) }),
    );
  };
