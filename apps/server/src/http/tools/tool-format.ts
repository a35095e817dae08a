import type { ChatTokenizer } from "@kvcache/decoder";
import { jsonAt } from "./json-at.ts";

/** How a chat template writes calls of functions: `begin` object `separator` object … `end`. */
export interface ToolFormat {
  readonly begin: string;
  readonly separator: string;
  readonly end: string;
  /** Names of the fields that hold the function's name and its arguments. */
  readonly nameKey: string;
  readonly argumentsKey: string;
}

const probe = "probe_function";
const tools = [
  {
    type: "function",
    function: {
      name: probe,
      description: "A probe.",
      parameters: { type: "object", properties: { key: { type: "string" } }, required: ["key"] },
    },
  },
];
const call = (value: string) => ({
  id: "call00000",
  type: "function",
  function: { name: probe, arguments: { key: value } },
});

/**
 * Finds out how a model's template writes calls, by having it write some. Undefined where it tells
 * the model nothing about tools, or writes calls as something else than JSON objects.
 */
export function toolFormatOf(
  tokenizer: ChatTokenizer,
  eosTokenIds: readonly number[],
): ToolFormat | undefined {
  if (tokenizer.chatTemplates.length === 0) return undefined;
  const question = { role: "user", content: "What?" };
  const write = (numCalls: number): string | undefined => {
    const tool_calls = ["first", "second"].slice(0, numCalls).map(call);
    const answer = { role: "assistant", content: "", tool_calls };
    try {
      const asked = tokenizer.applyChatTemplate([question], { tools, addGenerationPrompt: true });
      if (!asked.includes(probe)) return undefined;
      const answered = tokenizer.applyChatTemplate([question, answer], { tools });
      let common = 0;
      while (common < asked.length && asked[common] === answered[common]) common++;
      return answered.slice(common);
    } catch {
      return undefined;
    }
  };
  const once = write(1);
  const single = once === undefined ? undefined : firstCall(once);
  if (!once || !single) return undefined;
  const begin = once.slice(0, single.start);
  const end = beforeSpecial(once.slice(single.end), tokenizer, eosTokenIds);
  const twice = write(2) ?? "";
  const first = firstCall(twice);
  const second = first && firstCall(twice, first.end);
  const separator = first && second ? twice.slice(first.end, second.start) : "";
  const { nameKey, argumentsKey } = single;
  return { begin, separator, end, nameKey, argumentsKey };
}

/** The first object from `from` on that calls the probe. */
function firstCall(written: string, from = 0) {
  for (
    let start = written.indexOf("{", from);
    start >= 0;
    start = written.indexOf("{", start + 1)
  ) {
    const found = jsonAt(written, start);
    if (!found || typeof found.value !== "object" || found.value === null) continue;
    const entries = Object.entries(found.value);
    const nameKey = entries.find(([, value]) => value === probe)?.[0];
    const argumentsKey = entries.find(([, value]) => (value as { key?: unknown })?.key)?.[0];
    if (nameKey && argumentsKey) return { start, end: found.end, nameKey, argumentsKey };
  }
  return undefined;
}

/** What the model writes itself: not the special token that ends its turn, nor what follows. */
function beforeSpecial(
  written: string,
  tokenizer: ChatTokenizer,
  eosTokenIds: readonly number[],
): string {
  const ids = [...tokenizer.encode(written, { addSpecialTokens: false })];
  const at = ids.findIndex((id) => tokenizer.isSpecial(id) || eosTokenIds.includes(id));
  if (at < 0) return written;
  return written.slice(0, written.indexOf(tokenizer.token(ids[at]!)!));
}
