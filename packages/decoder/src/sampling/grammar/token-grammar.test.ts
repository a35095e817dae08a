import { expect, it } from "vitest";
import { maskLogits } from "../mask-logits.ts";
import { createRandom } from "../random.ts";
import { createByteMachine } from "./byte-machine.ts";
import { compileTokenGrammar, createTokenTrie, jsonSchemaGrammar } from "./index.ts";

const words = [
  '{"',
  '"',
  "{",
  "}",
  "na",
  "n",
  "ame",
  'me":',
  ":",
  " ",
  "1",
  "23",
  "4,",
  "tr",
  "ue",
];
const vocabulary = [...words, "ä", "<end>", ",", '"}', "e", "[", "]", "nul", "l", '"x', "false"];
const special = vocabulary.indexOf("<end>");
const encoder = new TextEncoder();
/** "ä" as two tokens of one byte each, behind the others. */
const halves = [...encoder.encode("ä")].map((byte) => Uint8Array.of(byte));
const tokens = [...vocabulary.map((word) => encoder.encode(word)), ...halves];
const vocabSize = tokens.length + 3;
const trie = createTokenTrie(
  { tokenBytes: (id) => tokens[id], isSpecial: (id) => id === special },
  vocabSize,
);
const schema = {
  properties: { name: { type: ["string", "boolean", "null"] }, n: { type: "integer" } },
};

it("allows exactly the tokens whose bytes may follow", () => {
  const grammar = jsonSchemaGrammar(schema);
  const compiled = compileTokenGrammar(grammar, trie, [special]);
  const random = createRandom(5);
  for (let run = 0; run < 40; run++) {
    const constraint = compiled.start();
    const machine = createByteMachine(grammar);
    let state: ReturnType<typeof machine.step> = machine.start;
    for (let step = 0, complete = false; step < 40 && !complete; step++) {
      const follows = (bytes: Uint8Array) =>
        bytes.reduce((s: typeof state, byte) => s && machine.step(s, byte), state);
      const mask = constraint.allowed();
      const allowed: number[] = [];
      for (let id = 0; id < vocabSize; id++)
        if ((mask[id >> 5]! >> (id & 31)) & 1) allowed.push(id);
      const expected = tokens.flatMap((bytes, id) =>
        (id === special ? state!.accepts : follows(bytes)) ? [id] : [],
      );
      expect(allowed).toEqual(expected);
      // This small vocabulary cannot finish every word.
      if (allowed.length === 0) break;
      const chosen = allowed[Math.floor(random() * allowed.length)]!;
      complete = constraint.accept(chosen);
      if (chosen !== special) state = follows(tokens[chosen]!);
    }
  }
});

it("knows when nothing may follow, and refuses what may not", () => {
  const constraint = compileTokenGrammar(jsonSchemaGrammar(schema), trie, [special]).start();
  const accept = (word: string) => constraint.accept(vocabulary.indexOf(word));
  expect(["{", '"', "n", '"', ":", "23"].map(accept)).toEqual(Array(6).fill(false));
  expect(() => accept("]")).toThrow(/breaks the grammar/);
  expect(() => constraint.accept(vocabSize - 1)).toThrow(/breaks the grammar/);
  expect(accept("}")).toBe(true);
});

it("masks logits", () => {
  const logits = Float32Array.of(1, 2, 3, 4);
  expect([...maskLogits(logits, Uint32Array.of(0b1011), [1, 9])]).toEqual([
    1,
    -Infinity,
    -Infinity,
    4,
  ]);
  expect([...maskLogits(logits, undefined)]).toEqual([1, 2, 3, 4]);
});
