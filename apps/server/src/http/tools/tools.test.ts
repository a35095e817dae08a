import { loadTokenizer } from "@kvcache/decoder";
import { describe, expect, it } from "vitest";
import { callSplitter, parseCalls } from "./parse-calls.ts";
import { toolFormatOf } from "./tool-format.ts";

/** A tokenizer of words under a template; `<eos>` and `[CALLS]` are special. */
function tokenizerWith(chatTemplate: string) {
  const added = ["<eos>", "[CALLS]"].map((content, i) => ({
    ...{ id: i + 1, content, special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  }));
  const model = { type: "WordLevel", vocab: { "?": 0, "<eos>": 1, "[CALLS]": 2 }, unk_token: "?" };
  return loadTokenizer({ tokenizerJson: { model, added_tokens: added }, chatTemplate });
}

const start = "{{ tools | tojson if tools else '' }}{% for m in messages %}";
const call = (key: string) =>
  `{"name": "{{ c.function.name }}", "${key}": {{ c.function.arguments | tojson }}}`;
const formats = {
  marked: `${start}|{{ m.content }}{% for c in m.tool_calls or [] %}<call>\n${call("arguments")}\n</call>{% if not loop.last %}\n{% endif %}{% endfor %}<eos>{% endfor %}`,
  bare: `${start}{% if m.tool_calls %}{% if m.tool_calls | length > 1 %}{{ raise_exception('one') }}{% endif %}{% set c = m.tool_calls[0] %}|${call("parameters")}{% else %}|{{ m.content }}{% endif %}<eos>{% endfor %}{% if add_generation_prompt %}|{% endif %}`,
  list: `${start}{% if m.tool_calls %}[CALLS][{% for c in m.tool_calls %}${call("arguments")}{% if not loop.last %}, {% endif %}{% endfor %}]{% else %}|{{ m.content }}{% endif %}<eos>{% endfor %}`,
};
const formatOf = (template: string) => toolFormatOf(tokenizerWith(template), [1]);

describe("formats are read from what a template writes", () => {
  it.each([
    ["marked", { begin: "|<call>\n", separator: "\n</call><call>\n", end: "\n</call>" }],
    ["bare", { begin: "", separator: "", end: "", argumentsKey: "parameters" }],
    ["list", { begin: "[CALLS][", separator: ", ", end: "]" }],
  ] as const)("%s", (name, expected) => expect(formatOf(formats[name])).toMatchObject(expected));

  it("none where tools are passed over, or calls are no JSON", () => {
    expect(formatOf("{% for m in messages %}{{ m.content }}{% endfor %}")).toBeUndefined();
    const python = `${start}{% for c in m.tool_calls or [] %}{{ c.function.name }}(key='first'){% endfor %}{% endfor %}`;
    expect(formatOf(python)).toBeUndefined();
  });
});

describe("calls", () => {
  const marked = {
    ...{ begin: "<call>\n", separator: "\n</call>\n<call>\n", end: "\n</call>" },
    ...{ nameKey: "name", argumentsKey: "arguments" },
  };
  const bare = { ...marked, begin: "", separator: "", end: "" };
  const one = '{"name": "f", "arguments": {"a": "}<"}}';
  const parsed = { name: "f", arguments: '{"a":"}<"}' };

  it.each([
    ["text only", marked, "Hello {}", "Hello {}", []],
    ["one", marked, `Well. <call>\n${one}\n</call>`, "Well.", [parsed]],
    ["two", marked, `<call>${one}</call><call>\n${one}\n</call>`, "", [parsed, parsed]],
    ["bare", bare, ` ${one}`, "", [parsed]],
    ["bare text", bare, `so ${one}`, `so ${one}`, []],
    ["broken", marked, '<call>\n{"name": "f"', '<call>\n{"name": "f"', []],
    ["nameless", bare, '{"a": 1}', '{"a": 1}', []],
  ])("%s, whole and in pieces", (_, format, text, content, calls) => {
    expect(parseCalls(text, format)).toEqual({ content, calls });
    for (const size of [1, 3, 1000]) {
      const splitter = callSplitter(format);
      let shown = "";
      for (let at = 0; at < text.length; at += size)
        shown += splitter.push(text.slice(at, at + size));
      const end = splitter.end();
      expect((shown + end.content).trimEnd()).toBe(content);
      expect(end.calls).toEqual(calls);
    }
  });
});
