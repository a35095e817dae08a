import { KvCacheError } from "@kvcache/core";

/** A policy as text names it: `name(option=value,…)`. */
export interface PolicyCall {
  readonly name: string;
  readonly options: OptionTree;
}

export type PlanValue = string | number | boolean | null | PolicyCall | readonly PlanValue[];
/** Options by name; a map in a map is a group of them. */
export type OptionTree = Map<string, PlanValue | OptionTree>;

/**
 * Reads `<policy>[@budget]`. A policy is `name`, `name:option=value,…` (outermost only) or
 * `name(option=value,…)`; a value is a word, a number, true, false, null, such a policy, or a list
 * `[value,…]`, a text in double quotes; `group.field=value` names one field of a group. Throws
 * `invalid-argument`.
 */
export function readPlan(text: string): { call: PolicyCall; budget: string | undefined } {
  const reader = createReader(text);
  const name = reader.word();
  if (name === "") throw notAPlan(text);
  let options: OptionTree = new Map();
  if (reader.skip("(")) {
    options = readOptions(reader, ")");
    if (!reader.skip(")")) throw notAPlan(text);
  } else if (reader.skip(":")) options = readOptions(reader, "@");
  const budget = reader.skip("@") ? reader.rest() : undefined;
  if (budget === "" || !reader.atEnd()) throw notAPlan(text);
  return { call: { name, options }, budget };
}

const notAPlan = (text: string) =>
  new KvCacheError("invalid-argument", `"${text}" is not a plan.`, {
    value: text,
    remedy:
      "Write <policy>[@budget], for example snap-kv@0.25 or ada-kv(policy=key-diff,safeguard=.1)@0.25.",
  });

type Reader = ReturnType<typeof createReader>;

function createReader(given: string) {
  const text = given.trim();
  let at = 0;
  return {
    /** Letters up to the next sign of the syntax; may be empty. */
    word(): string {
      const [word] = /^[^:@(),=[\]]*/.exec(text.slice(at))!;
      at += word.length;
      return word.trim();
    },
    /** A text in double quotes, without them; undefined where none begins or it does not end. */
    quoted(): string | undefined {
      const [whole, inner] = /^"([^"]*)"/.exec(text.slice(at)) ?? [];
      at += whole?.length ?? 0;
      return inner;
    },
    skip(sign: string): boolean {
      if (!text.startsWith(sign, at)) return false;
      at += sign.length;
      return true;
    },
    sees: (sign: string) => text.startsWith(sign, at),
    rest(): string {
      const rest = text.slice(at);
      at = text.length;
      return rest;
    },
    atEnd: () => at === text.length,
    /** What a faulty option looks like, for people. */
    around: (from: number) => /^[^,)@\]]*/.exec(text.slice(from))![0],
    position: () => at,
  };
}

function readOptions(reader: Reader, end: string): OptionTree {
  const options: OptionTree = new Map();
  while (!reader.atEnd() && !reader.sees(end)) {
    const from = reader.position();
    const path = reader.word();
    const bad = () =>
      new KvCacheError("invalid-argument", `"${reader.around(from)}" is not a policy option.`, {
        value: path,
        remedy: "Write name=value, for example snap-kv(window=32,pooling.size=21).",
      });
    const keys = path.split(".");
    if (!keys.every((key) => /^(?!__proto__$)./.test(key)) || !reader.skip("=")) throw bad();
    const value = readValue(reader);
    if (value === undefined) throw bad();
    let group = options;
    for (const key of keys.slice(0, -1)) {
      const inner = group.get(key);
      const next: OptionTree = inner instanceof Map ? inner : new Map();
      group.set(key, next);
      group = next;
    }
    group.set(keys.at(-1)!, value);
    if (!reader.skip(",") && !reader.atEnd() && !reader.sees(end)) throw bad();
  }
  return options;
}

/** Undefined where no value stands. */
function readValue(reader: Reader): PlanValue | undefined {
  if (reader.skip("[")) {
    const list: PlanValue[] = [];
    while (!reader.skip("]")) {
      const value = readValue(reader);
      if (value === undefined) return undefined;
      list.push(value);
      if (!reader.skip(",") && !reader.sees("]")) return undefined;
    }
    return list;
  }
  const quoted = reader.quoted();
  if (quoted !== undefined) return quoted;
  const word = reader.word();
  if (word === "") return undefined;
  if (!reader.skip("(")) return scalar(word);
  const options = readOptions(reader, ")");
  return reader.skip(")") ? { name: word, options } : undefined;
}

/** "32" → 32, "true" → true, "avg" → "avg". */
function scalar(word: string): string | number | boolean | null {
  if (word === "null") return null;
  if (word === "true" || word === "false") return word === "true";
  const number = Number(word);
  return Number.isNaN(number) ? word : number;
}
