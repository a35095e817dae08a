import { KvCacheError } from "@kvcache/core";
import {
  choice,
  compileTokenGrammar,
  createTokenTrie,
  type DecoderModel,
  jsonObjectGrammar,
  jsonSchemaGrammar,
  type Rule,
  type TokenGrammar,
  text,
  tokenizerOf,
} from "@kvcache/decoder";
import { invalidField } from "./api-error.ts";
import { lru } from "./lru.ts";
import type { GenerationFields, ResponseFormat } from "./schemas/generation.ts";

const MAX_SCHEMA_CHARACTERS = 64 * 1024;

/** Grammars for the vocabulary of one model; those used last stay compiled. */
export interface StructuredOutput {
  /** The grammar that a request asks for, if it does. Throws a 400 that names the field. */
  of(
    fields: Pick<GenerationFields, "structured_outputs">,
    format?: ResponseFormat | null,
  ): TokenGrammar | undefined;
  /** Compiles the grammar that `make` gives, unless it is known by this key. */
  compiled(key: string, param: string, make: () => Rule): TokenGrammar;
}

export function createStructuredOutput(model: DecoderModel): StructuredOutput {
  const grammars = lru<TokenGrammar>(64);
  let trie: ReturnType<typeof createTokenTrie> | undefined;

  const compiled: StructuredOutput["compiled"] = (key, param, make) => {
    if (key.length > MAX_SCHEMA_CHARACTERS)
      throw invalidField(param, `A schema may have ${MAX_SCHEMA_CHARACTERS} characters.`);
    try {
      trie ??= createTokenTrie(tokenizerOf(model), model.graph.vocabSize);
      const vocabulary = trie;
      return grammars(key, () =>
        compileTokenGrammar(make(), vocabulary, model.generationConfig.eosTokenIds),
      );
    } catch (cause) {
      if (cause instanceof KvCacheError) throw invalidField(param, cause.message, cause);
      throw cause;
    }
  };

  const ofSchema = (schema: unknown, param: string) =>
    compiled(`schema ${JSON.stringify(schema)}`, param, () => jsonSchemaGrammar(schema));
  const anyObject = (param: string) => compiled("json_object", param, () => jsonObjectGrammar);

  return {
    compiled,
    of({ structured_outputs: outputs }, format) {
      const wanted: TokenGrammar[] = [];
      if (format?.type === "json_object") wanted.push(anyObject("response_format"));
      if (format?.type === "json_schema")
        wanted.push(ofSchema(format.json_schema.schema, "response_format"));
      const { json, choice: texts, json_object } = outputs ?? {};
      const param = "structured_outputs";
      if (json) wanted.push(ofSchema(typeof json === "string" ? parsed(json) : json, param));
      if (json_object) wanted.push(anyObject(param));
      if (texts) {
        const rule = { alternatives: [[choice(...texts.map(text))]] };
        wanted.push(compiled(`choice ${JSON.stringify(texts)}`, param, () => rule));
      }
      if (wanted.length > 1) throw invalidField(param, "Ask for one structure only.");
      return wanted[0];
    },
  };
}

function parsed(schema: string): unknown {
  try {
    return JSON.parse(schema);
  } catch (cause) {
    throw invalidField("structured_outputs", "structured_outputs.json is not JSON.", cause);
  }
}
