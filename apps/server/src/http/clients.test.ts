import { rm } from "node:fs/promises";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, jsonSchema, Output, streamText, tool } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, type TestServer } from "./test-server.ts";
import { toolModelFolder } from "./test-tool-model.ts";

// The clients that people use, against a real server.

const apiKey = "sk-test";
let folder: string;
let server: TestServer;
let baseURL: string;
let openai: OpenAI;

beforeAll(async () => {
  folder = await toolModelFolder();
  server = await startTestServer({ model: folder, apiKeys: ["sk-other", apiKey] });
  baseURL = `${server.url}/v1`;
  openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const messages = [{ role: "user" as const, content: "Once upon a time there was a king who" }];
const schema = {
  type: "object" as const,
  properties: {
    city: { enum: ["Paris", "Oslo"] },
    days: { type: "integer", minimum: 1, maximum: 9 },
  },
  required: ["city", "days"],
  additionalProperties: false,
};
interface Trip {
  readonly city: string;
  readonly days: number;
}
const validArguments = {
  city: expect.stringMatching(/^(Paris|Oslo)$/),
  days: expect.any(Number),
};

describe("openai", () => {
  it("lists models", async () => {
    const ids = [];
    for await (const { id } of openai.models.list()) ids.push(id);
    expect(ids).toEqual(["tiny"]);
    expect((await openai.models.retrieve("tiny")).id).toBe("tiny");
  });

  it("chats, at once and streamed with usage", async () => {
    const request = { model: "tiny", messages, max_tokens: 8 };
    const { choices, usage } = await openai.chat.completions.create(request);
    const stream = await openai.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let last: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      last = chunk.usage;
    }
    expect(text).toBe(choices[0]!.message.content);
    expect(last).toMatchObject({ completion_tokens: usage!.completion_tokens });
    // The second prompt started from the blocks of the first one.
    expect(usage!.prompt_tokens_details!.cached_tokens).toBeLessThanOrEqual(
      last!.prompt_tokens_details!.cached_tokens!,
    );
  });

  it("completes with logprobs, and answers responses", async () => {
    const completion = await openai.completions.create({
      model: "tiny",
      prompt: "The king",
      max_tokens: 3,
      logprobs: 2,
    });
    expect(completion.choices[0]!.logprobs!.token_logprobs).toHaveLength(3);
    const response = await openai.responses.create({
      model: "tiny",
      input: "Hi",
      max_output_tokens: 4,
    });
    expect(typeof response.output_text).toBe("string");
  });

  it("calls tools: required, streamed, and none where the model does not", async () => {
    const tools = [
      { type: "function" as const, function: { name: "weather", parameters: schema } },
    ];
    const request = {
      model: "tiny",
      messages,
      tools,
      tool_choice: "required" as const,
      max_tokens: 60,
    };
    const { choices } = await openai.chat.completions.create(request);
    const [{ finish_reason, message }] = choices as [OpenAI.ChatCompletion.Choice];
    expect(finish_reason).toBe("tool_calls");
    const [call] = message.tool_calls as [OpenAI.ChatCompletionMessageFunctionToolCall];
    expect(call.function.name).toBe("weather");
    expect(JSON.parse(call.function.arguments)).toEqual(validArguments);

    const final = await openai.chat.completions.stream(request).finalChatCompletion();
    expect(final.choices[0]!.message.tool_calls![0]).toMatchObject({ function: call.function });

    const answered = await openai.chat.completions.create({
      model: "tiny",
      tools,
      messages: [...messages, message, { role: "tool", tool_call_id: call.id, content: "sunny" }],
      max_tokens: 5,
    });
    expect(answered.choices[0]!.message.tool_calls).toBeUndefined();
  });

  it("writes JSON by a schema", async () => {
    const { choices } = await openai.chat.completions.create({
      model: "tiny",
      messages,
      response_format: { type: "json_schema", json_schema: { name: "trip", schema, strict: true } },
      max_tokens: 80,
    });
    expect(JSON.parse(choices[0]!.message.content!)).toEqual(validArguments);
  });

  it("aborts, and the server goes on", async () => {
    const stream = await openai.chat.completions.create({
      model: "tiny",
      messages,
      max_tokens: 4000,
      stream: true,
      ...{ ignore_eos: true },
    });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 3) break;
    expect(chunks).toBe(3);
    const { choices } = await openai.chat.completions.create({
      model: "tiny",
      messages,
      max_tokens: 2,
    });
    expect(choices).toHaveLength(1);
  });

  it("throws typed errors", async () => {
    const ask = (client: OpenAI, fields: object) =>
      client.chat.completions.create({ model: "tiny", messages, ...fields }).then(
        () => undefined,
        (error) => error,
      );
    const unknown = await ask(openai, { model: "none" });
    expect(unknown).toBeInstanceOf(OpenAI.NotFoundError);
    expect(unknown).toMatchObject({ code: "model_not_found", param: "model" });
    expect(await ask(openai, { temperature: -1 })).toBeInstanceOf(OpenAI.BadRequestError);
    expect(await ask(openai, { max_tokens: 1e6 })).toMatchObject({
      code: "context_length_exceeded",
    });
    const stranger = new OpenAI({ baseURL, apiKey: "sk-wrong", maxRetries: 0 });
    expect(await ask(stranger, {})).toBeInstanceOf(OpenAI.AuthenticationError);
  });
});

describe("ai", () => {
  const model = () =>
    createOpenAICompatible({
      name: "kvcache",
      baseURL,
      apiKey,
      includeUsage: true,
      supportsStructuredOutputs: true,
    })("tiny");
  const prompt = messages[0]!.content;

  it("generates and streams text, usage with the cached tokens", async () => {
    const { text, usage } = await generateText({ model: model(), prompt, maxOutputTokens: 6 });
    const stream = streamText({ model: model(), prompt, maxOutputTokens: 6 });
    expect(await stream.text).toBe(text);
    expect(await stream.usage).toMatchObject({
      outputTokens: usage.outputTokens,
      inputTokenDetails: { cacheReadTokens: expect.any(Number) },
    });
  });

  it("calls a tool with arguments of its schema", async () => {
    const execute = (trip: Trip) => trip.days;
    const weather = tool({ inputSchema: jsonSchema<Trip>(schema), execute });
    const { toolCalls } = await generateText({
      model: model(),
      prompt,
      tools: { weather },
      toolChoice: "required",
      maxOutputTokens: 60,
    });
    expect(toolCalls).toMatchObject([{ toolName: "weather", input: validArguments }]);
  });

  it("makes an object by its schema", async () => {
    const output = Output.object({ schema: jsonSchema(schema) });
    const result = await generateText({ model: model(), prompt, output, maxOutputTokens: 80 });
    expect(result.output).toEqual(validArguments);
  });
});

describe("langchain", () => {
  const model = () =>
    new ChatOpenAI({
      model: "tiny",
      apiKey,
      configuration: { baseURL },
      maxTokens: 60,
      temperature: 0,
      maxRetries: 0,
    });

  it("invokes and streams", async () => {
    const prompt = messages[0]!.content;
    const answer = await model().invoke(prompt);
    let text = "";
    for await (const chunk of await model().stream(prompt)) text += chunk.text;
    expect(text).toBe(answer.text);
    expect(answer).toMatchObject({ usage_metadata: { output_tokens: expect.any(Number) } });
  });

  it("structures its output", async () => {
    const structured = model().withStructuredOutput(schema, { method: "jsonSchema", name: "trip" });
    expect(await structured.invoke("Where to?")).toEqual(validArguments);
  });

  it("binds tools", async () => {
    const tools = [
      { type: "function" as const, function: { name: "weather", parameters: schema } },
    ];
    const { tool_calls } = await model().bindTools(tools, { tool_choice: "weather" }).invoke("Go");
    expect(tool_calls).toMatchObject([{ name: "weather", args: validArguments }]);
  });
});
