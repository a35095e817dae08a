import { readFileSync } from "node:fs";
import { KvCacheError } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import type { ChatMessage, ChatTemplateOptions } from "./chat-template.ts";
import { loadTokenizer } from "./load-tokenizer.ts";

interface ChatCase {
  name: string;
  messages: ChatMessage[];
  options: Record<string, unknown>;
  prompt?: string;
  ids?: number[];
  error?: string;
  errorKind?: string;
}

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`./__fixtures__/${name}.json`, import.meta.url), "utf8"));
const { tokenizerJson } = read("qwen2");
const hi: ChatMessage[] = [{ role: "user", content: "hi" }];

/** Options as Python's apply_chat_template takes them. */
function toOptions(options: Record<string, unknown>): ChatTemplateOptions {
  const { add_generation_prompt, continue_final_message, tools, ...variables } = options;
  return {
    addGenerationPrompt: add_generation_prompt === true,
    continueFinalMessage: continue_final_message === true,
    ...(tools === undefined ? {} : { tools: tools as unknown[] }),
    variables,
  };
}

const withTemplate = (chat_template: unknown) =>
  loadTokenizer({ tokenizerJson, tokenizerConfig: { chat_template, eos_token: "</s>" } });

describe.each(["llama2", "qwen2", "unigram"])("the %s chat template", (name) => {
  const fixture = read(name);
  const tokenizer = loadTokenizer(fixture);
  it.each((fixture.chat as ChatCase[]).map((one) => [one.name, one] as const))("%s", (_, one) => {
    const apply = () => tokenizer.applyChatTemplate(one.messages, toOptions(one.options));
    if (one.prompt === undefined) {
      expect(apply).toThrow(KvCacheError);
      if (one.errorKind === "TemplateError") expect(apply).toThrow(one.error!);
      return;
    }
    expect(apply()).toBe(one.prompt);
    expect([...tokenizer.encode(apply(), { addSpecialTokens: false })]).toEqual(one.ids);
  });
});

describe("a choice of templates", () => {
  const list = [
    { name: "default", template: "plain {{ eos_token }}" },
    { name: "tool_use", template: "{{ tools | length }} tools" },
    { name: "rag", template: "{{ documents[0].title }}" },
  ];
  const tokenizer = withTemplate(list);

  it("is by name, by tools, or the default", () => {
    expect(tokenizer.chatTemplates).toEqual(["default", "tool_use", "rag"]);
    expect(tokenizer.applyChatTemplate(hi)).toBe("plain </s>");
    expect(tokenizer.applyChatTemplate(hi, { tools: [{}] })).toBe("1 tools");
    const documents = [{ title: "T" }];
    expect(tokenizer.applyChatTemplate(hi, { template: "rag", documents })).toBe("T");
    expect(() => tokenizer.applyChatTemplate(hi, { template: "no" })).toThrow("no chat_template");
  });

  it("is overruled by chat_template.jinja", () => {
    const files = { tokenizerJson, tokenizerConfig: { chat_template: list } };
    expect(loadTokenizer({ ...files, chatTemplate: "file" }).applyChatTemplate(hi)).toBe("file");
  });

  it("may be empty", () => {
    const tokenizer = loadTokenizer({ tokenizerJson });
    expect(tokenizer.chatTemplates).toEqual([]);
    expect(() => tokenizer.applyChatTemplate(hi)).toThrow(/no chat_template/);
  });
});

describe("continueFinalMessage", () => {
  const messages = [...hi, { role: "assistant", content: "One, two " }];
  const end = { continueFinalMessage: true };

  it("keeps the space that the template keeps, and cuts what it trims", () => {
    const kept = withTemplate("{% for m in messages %}[{{ m.content }}]{% endfor %}");
    expect(kept.applyChatTemplate(messages, end)).toBe("[hi][One, two ");
    const trimmed = withTemplate("{% for m in messages %}[{{ m.content | trim }}]{% endfor %}");
    expect(trimmed.applyChatTemplate(messages, end)).toBe("[hi][One, two");
  });

  it("refuses what cannot be continued", () => {
    const tokenizer = withTemplate("{{ messages[0].content }}");
    expect(() => tokenizer.applyChatTemplate(messages, end)).toThrow("final message");
    expect(() => tokenizer.applyChatTemplate([{ role: "user" }], end)).toThrow("no text");
    const both = { ...end, addGenerationPrompt: true };
    expect(() => tokenizer.applyChatTemplate(messages, both)).toThrow("exclude");
  });
});

it("formats the time that it is given", () => {
  const tokenizer = withTemplate("{{ strftime_now('%d %b %Y, %-I %p, %j') }}");
  const now = new Date(2025, 2, 5, 16, 7);
  expect(tokenizer.applyChatTemplate(hi, { now })).toBe("05 Mar 2025, 4 PM, 064");
});

describe("a hostile template", () => {
  const nested = (body: string, depth: number) =>
    "{% for a in range(10000) %}".repeat(depth) + body + "{% endfor %}".repeat(depth);
  const grow = (step: string) =>
    `{% set ns = namespace(x=['a']) %}{% for i in range(60) %}{% set ns.x = ${step} %}{% endfor %}`;
  it.each([
    ["loops over a huge range", "{% for i in range(1000000000000) %}x{% endfor %}", /range/i],
    ["nests loops", nested("", 4), /too much work/],
    ["prints for ever", nested("{{ 'a' * 1000000 }}", 2), /too much work/],
    ["doubles a text", grow("ns.x ~ ns.x"), /characters/],
    ["doubles a list", grow("ns.x + ns.x"), /too much work/],
    ["prints a shared structure", `${grow("[ns.x, ns.x]")}{{ ns.x }}`, /too much work/],
    ["asks for a wide text", "{{ 'a' | center(100000000000) }}", /characters/],
    ["never ends a macro", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", /too deeply/],
    ["nests brackets", `{{ ${"(".repeat(1e5)}1${")".repeat(1e5)} }}`, /parsed/],
    ["reaches for Python", "{{ ''.__class__.__mro__ }}", /undefined/],
    ["reaches for JavaScript", "{{ messages.constructor.constructor('return 1')() }}", /undefined/],
    ["is cut off", "{% for m in messages %}{{ m.content }}", /chat_template.*endfor/],
    ["names an unknown filter", "{{ messages | frobnicate }}", /frobnicate/],
    ["changes its input", "{{ messages.append(1) }}", /not allowed/],
  ])("that %s is stopped", (_, template, message) => {
    const apply = () => withTemplate(template).applyChatTemplate(hi);
    expect(apply).toThrow(message);
    expect(apply).toThrow(KvCacheError);
  });

  it("that is no text is refused when it is loaded", () => {
    expect(() => withTemplate(5)).toThrow("chat_template");
  });
});
