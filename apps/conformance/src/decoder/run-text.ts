import { type Backend, KvCacheError } from "@kvcache/core";
import {
  type ChatMessage,
  type ChatTemplateOptions,
  type ChatTokenizer,
  folderFiles,
  readTokenizer,
} from "@kvcache/decoder";
import { openModel } from "../open-model.ts";
import { failed, passed, type Verdict } from "../vectors/case.ts";
import { first } from "../vectors/compare.ts";
import { same, sameText } from "./compare.ts";
import type { DecoderCase } from "./decoder-case.ts";

interface EncodeRow {
  readonly text: string;
  readonly ids: readonly number[];
  readonly idsWithSpecial: readonly number[];
  readonly decoded: string;
  readonly decodedSkipSpecial?: string;
}

interface StreamRow {
  readonly name?: string;
  readonly ids: readonly number[];
  readonly text: string;
  readonly chunks: readonly string[];
  readonly lazyChunks?: readonly string[];
  readonly flush: string;
}

interface ChatRow {
  readonly name: string;
  readonly messages: readonly ChatMessage[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly template?: string;
  readonly prompt?: string;
  readonly ids?: readonly number[];
  readonly error?: string;
  readonly errorKind?: string;
}

const rows = <T>(test: DecoderCase, field: string) => (test.json[field] ?? []) as readonly T[];

async function tokenizerOf(test: DecoderCase): Promise<ChatTokenizer> {
  const tokenizer = await readTokenizer(await folderFiles(test.folder));
  if (!tokenizer) throw new KvCacheError("invalid-file", `${test.folder} has no tokenizer.json.`);
  return tokenizer;
}

/** The arguments of transformers' apply_chat_template as ours; the rest are template variables. */
function templateOptions({ options, template }: ChatRow): ChatTemplateOptions {
  const { add_generation_prompt, continue_final_message, tools, documents, ...variables } = options;
  return {
    addGenerationPrompt: add_generation_prompt === true,
    continueFinalMessage: continue_final_message === true,
    ...(Array.isArray(tools) ? { tools } : {}),
    ...(Array.isArray(documents) ? { documents } : {}),
    ...(template === undefined ? {} : { template }),
    variables,
  };
}

function runEncode(tokenizer: ChatTokenizer, row: EncodeRow): Verdict {
  const name = JSON.stringify(row.text.slice(0, 40));
  return first(
    same(`ids of ${name}`, tokenizer.encode(row.text, { addSpecialTokens: false }), row.ids),
    same(`ids with special of ${name}`, tokenizer.encode(row.text), row.idsWithSpecial),
    sameText(`decoded ${name}`, tokenizer.decode(row.ids), row.decoded),
    row.decodedSkipSpecial === undefined
      ? passed
      : sameText(
          `decoded without special ${name}`,
          tokenizer.decode(row.ids, { skipSpecialTokens: true }),
          row.decodedSkipSpecial,
        ),
  );
}

/** After each token the text lies between the lazy and the eager one; in the end it is whole. */
export function runStream(tokenizer: ChatTokenizer, row: StreamRow): Verdict {
  const stream = tokenizer.streamDecoder({ skipSpecialTokens: true });
  let [ours, eager, lazy] = ["", "", ""];
  for (const [i, id] of row.ids.entries()) {
    ours += stream.push(id);
    eager += row.chunks[i]!;
    lazy += (row.lazyChunks ?? row.chunks)[i]!;
    if (!eager.startsWith(ours) || !ours.startsWith(lazy))
      return failed(
        `stream ${row.name ?? ""} token ${i}: ${JSON.stringify(ours)} is not between ${JSON.stringify(lazy)} and ${JSON.stringify(eager)}`,
      );
  }
  return sameText(`stream ${row.name ?? ""}`, ours + stream.flush(), row.text);
}

function runChat(tokenizer: ChatTokenizer, row: ChatRow): Verdict {
  let prompt: string;
  try {
    prompt = tokenizer.applyChatTemplate(row.messages, templateOptions(row));
  } catch (error) {
    const message = (error as Error).message;
    if (row.error === undefined) return failed(`chat ${row.name}: ${message}`);
    return row.errorKind !== "TemplateError" || message.includes(row.error)
      ? passed
      : failed(`chat ${row.name}: expected the error ${row.error}, got ${message}`);
  }
  if (row.prompt === undefined) return failed(`chat ${row.name}: expected an error, got a prompt`);
  return first(
    sameText(`chat ${row.name}`, prompt, row.prompt),
    row.ids
      ? same(
          `ids of chat ${row.name}`,
          tokenizer.encode(prompt, { addSpecialTokens: false }),
          row.ids,
        )
      : passed,
  );
}

/** Encoding, decoding, streaming and chat templates of one tokenizer. */
export async function runTokenizer(test: DecoderCase): Promise<Verdict> {
  const tokenizer = await tokenizerOf(test);
  return first(
    ...rows<EncodeRow>(test, "encode").map((row) => runEncode(tokenizer, row)),
    ...rows<StreamRow>(test, "detokenise").map((row) => runStream(tokenizer, row)),
    ...rows<ChatRow>(test, "chat").map((row) => runChat(tokenizer, row)),
  );
}

/** Messages to text on one folder, greedy, stopping at an id of generation_config.json. */
export async function runPipeline(test: DecoderCase, backend: Backend): Promise<Verdict> {
  const { promptIds, greedyIds, text } = test.json as unknown as {
    promptIds: readonly number[];
    greedyIds: readonly number[];
    text: string;
  };
  const { model, runner, close } = await openModel(
    test.folder,
    backend,
    promptIds.length + greedyIds.length + 64,
  );
  try {
    const tokenizer = await tokenizerOf(test);
    const chat = runChat(tokenizer, {
      ...(test.json as unknown as ChatRow),
      name: "prompt",
      ids: promptIds,
    });
    const sequence = runner.open();
    await sequence.prefill(promptIds);
    const ids = await sequence.greedy(greedyIds.length + 16, model.generationConfig.eosTokenIds);
    return first(
      chat,
      same("greedyIds", ids, greedyIds),
      runStream(tokenizer, { ...(test.json as unknown as StreamRow), ids: greedyIds, text }),
    );
  } finally {
    await close();
  }
}
