import {
  arrayAt,
  integerAt,
  invalidTokenizer,
  type JsonObject,
  objectAt,
  partAt,
  stringAt,
  unsupportedPart,
} from "./tokenizer-json.ts";

/** The ids that a post-processor puts before and behind one text. */
export interface SpecialTokenFrame {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const NOTHING: SpecialTokenFrame = { before: [], after: [] };

/** What `post_processor` adds around a single text when special tokens are wanted. */
export function readSpecialTokenFrame(value: unknown, where = "post_processor"): SpecialTokenFrame {
  if (value === null || value === undefined) return NOTHING;
  const { type, config } = partAt(value, where);
  switch (type) {
    case "ByteLevel":
      return NOTHING;
    case "Sequence":
      return arrayAt(config.processors, `${where}.processors`)
        .map((part, i) => readSpecialTokenFrame(part, `${where}.processors[${i}]`))
        .reduce(
          (inner, outer) => ({
            before: [...outer.before, ...inner.before],
            after: [...inner.after, ...outer.after],
          }),
          NOTHING,
        );
    case "BertProcessing":
    case "RobertaProcessing":
      return {
        before: [pairId(config.cls, `${where}.cls`)],
        after: [pairId(config.sep, `${where}.sep`)],
      };
    case "TemplateProcessing":
      return readTemplate(config, where);
    default:
      throw unsupportedPart(where, type);
  }
}

/** `["[CLS]", 101]` */
function pairId(value: unknown, where: string): number {
  return integerAt(arrayAt(value, where)[1], `${where}[1]`);
}

/** `single` is a list of special tokens around the one `{ Sequence: { id: "A" } }`. */
function readTemplate(config: JsonObject, where: string): SpecialTokenFrame {
  const known = objectAt(config.special_tokens ?? {}, `${where}.special_tokens`);
  const parts: number[][] = [[]];
  arrayAt(config.single, `${where}.single`).forEach((entry, i) => {
    const at = `${where}.single[${i}]`;
    const piece = objectAt(entry, at);
    if (piece.Sequence !== undefined) {
      parts.push([]);
      return;
    }
    const name = stringAt(objectAt(piece.SpecialToken, at).id, `${at}.SpecialToken.id`);
    const token = objectAt(Object.hasOwn(known, name) ? known[name] : undefined, `${at} (${name})`);
    const ids = arrayAt(token.ids, `${where}.special_tokens[${JSON.stringify(name)}].ids`);
    parts.at(-1)!.push(...ids.map((id) => integerAt(id, at)));
  });
  const [before, after] = parts;
  if (parts.length !== 2) {
    throw invalidTokenizer(`${where}.single`, "must hold the text exactly once", config.single);
  }
  return { before: before!, after: after! };
}
