import { type DecoderGraph, KvCacheError } from "@kvcache/core";
import { buildGraph } from "./build-graph.ts";
import { type DecoderConfig, parseConfig, resolveTies } from "./config/decoder-config.ts";
import { type GenerationConfig, parseGenerationConfig } from "./config/generation-config.ts";
import { folderFiles, pathExists } from "./files/folder-files.ts";
import { type JsonObject, MAX_JSON_BYTES, parseJsonObject } from "./files/json-file.ts";
import { type ModelFiles, missingFile, readIfPresent } from "./files/model-files.ts";
import { parseHubId } from "./hub/hub-id.ts";
import { type HubOptions, hubModelFolder } from "./hub/hub-model.ts";
import { type ChatTokenizer, loadTokenizer } from "./text/index.ts";
import { checkWeights } from "./weights/check-weights.ts";
import { fingerprint } from "./weights/fingerprint.ts";
import { openSafetensors, type SafetensorsWeights } from "./weights/safetensors.ts";

const MAX_TEMPLATE_BYTES = 10_000_000;

/** A model that was read and checked, and is not yet on a backend. */
export interface DecoderModel {
  /** What it was loaded by: folder name, hub id or name of the files. */
  readonly name: string;
  readonly config: DecoderConfig;
  readonly graph: DecoderGraph;
  readonly weights: SafetensorsWeights;
  /** Undefined where the model has no tokenizer.json: it then works on token ids only. */
  readonly tokenizer: ChatTokenizer | undefined;
  readonly generationConfig: GenerationConfig;
  /** 32 hex digits that differ between any two models. */
  readonly fingerprint: string;
}

export interface LoadModelOptions extends HubOptions {
  /** Default: the folder's last part, or the hub id. */
  readonly name?: string;
}

/**
 * Reads a model: a folder, a hub id `org/name[@revision]` (a folder of that name comes first), or
 * files. Everything is validated here, so that a backend meets only tensors that exist, of the
 * right shape. Throws `not-found`, `invalid-model` or `unsupported`, naming file and field.
 */
export async function loadModel(
  source: string | ModelFiles,
  options: LoadModelOptions = {},
): Promise<DecoderModel> {
  const files = typeof source === "string" ? await openSource(source, options) : source;
  const configJson = await readJson(files, "config.json");
  if (configJson === undefined) throw missingFile(files.name, "config.json");
  const parsed = parseConfig(configJson);
  const weights = await openSafetensors(files);
  const config = resolveTies(parsed, weights.has);
  const graph = buildGraph(config);
  checkWeights(graph, weights);
  const generation = await readJson(files, "generation_config.json");
  return Object.freeze({
    name: options.name ?? nameOf(source),
    config,
    graph,
    weights,
    tokenizer: await readTokenizer(files),
    generationConfig: parseGenerationConfig(generation, config),
    fingerprint: await fingerprint(graph, weights),
  } satisfies DecoderModel);
}

/** The tokenizer, where text is needed. Throws `not-found` where the model has none. */
export function tokenizerOf(model: DecoderModel): ChatTokenizer {
  if (model.tokenizer !== undefined) return model.tokenizer;
  throw new KvCacheError("not-found", `${model.name} has no tokenizer.json, so it takes no text.`, {
    value: model.name,
    remedy: "Give token ids, or add the tokenizer.json that was published with the model.",
  });
}

/** Reads only the tokenizer and chat template of a model; undefined where it has no tokenizer.json. */
export async function readTokenizer(files: ModelFiles): Promise<ChatTokenizer | undefined> {
  const tokenizerJson = await readJson(files, "tokenizer.json");
  if (tokenizerJson === undefined) return undefined;
  const template = await readIfPresent(files, "chat_template.jinja", MAX_TEMPLATE_BYTES);
  return loadTokenizer({
    tokenizerJson,
    tokenizerConfig: await readJson(files, "tokenizer_config.json"),
    specialTokensMap: await readJson(files, "special_tokens_map.json"),
    chatTemplate: template && new TextDecoder().decode(template),
  });
}

async function openSource(source: string, options: LoadModelOptions): Promise<ModelFiles> {
  const id = parseHubId(source);
  if (id === undefined || pathExists(source)) return folderFiles(source);
  return folderFiles(await hubModelFolder(id, options));
}

async function readJson(files: ModelFiles, file: string): Promise<JsonObject | undefined> {
  const bytes = await readIfPresent(files, file, MAX_JSON_BYTES);
  return bytes && parseJsonObject(bytes, file);
}

function nameOf(source: string | ModelFiles): string {
  if (typeof source !== "string") return source.name;
  if (parseHubId(source)) return source;
  return source.split(/[\\/]/).filter(Boolean).at(-1) ?? source;
}
