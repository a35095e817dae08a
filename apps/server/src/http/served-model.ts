import type { CachePlan } from "@kvcache/core";
import { type ChatTokenizer, tokenizerOf } from "@kvcache/decoder";
import type { GenerationRequest, GenerationStream } from "@kvcache/engine";
import type { Assembled } from "../assemble.ts";
import { filesOf } from "../method-files.ts";
import type { ModelInspector } from "./inspector/model-inspector.ts";
import { createPlanner, type KvRequest } from "./kv-plan.ts";
import type { ModelMetrics } from "./metrics/model-metrics.ts";
import { createStructuredOutput, type StructuredOutput } from "./structured-output.ts";
import { type ToolFormat, toolFormatOf } from "./tools/tool-format.ts";

/** A model that requests can name, with everything about it that is worked out once. */
export interface ServedModel {
  readonly id: string;
  readonly run: Assembled;
  /** Unix seconds. */
  readonly created: number;
  /** Tokens of prompt and answer together. */
  readonly maxModelLength: number;
  readonly defaultPlan: CachePlan;
  /** Throws `not-found` where the model takes no text. */
  readonly tokenizer: ChatTokenizer;
  readonly toolFormat: ToolFormat | undefined;
  readonly structured: StructuredOutput;
  /** What people see of it, where they may. */
  readonly inspector: ModelInspector | undefined;
  planOf(request: KvRequest): CachePlan;
  /** The text of one token, as it stands inside a longer one; and its bytes. */
  tokenText(id: number): string;
  /** Starts a request and counts it. */
  generate(request: GenerationRequest): GenerationStream;
}

export interface ServedModelOptions {
  readonly id: string;
  readonly run: Assembled;
  readonly defaultPlan: CachePlan;
  readonly metrics: ModelMetrics;
  readonly inspector?: ModelInspector | undefined;
  /** Folder of profiles and weights that requests may name; only those that ship when absent. */
  readonly profiles?: string | undefined;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export function createServedModel({
  id,
  run,
  defaultPlan,
  metrics,
  inspector,
  profiles,
}: ServedModelOptions): ServedModel {
  const { model } = run;
  const { tokenizer } = model;
  const { maxPositions } = model.graph;
  metrics.watch(run);
  inspector?.watch(run);
  const start = (request: GenerationRequest) => metrics.observe(run.engine.generate(request));
  return Object.freeze<ServedModel>({
    id,
    run,
    created: Math.floor(Date.now() / 1000),
    maxModelLength: maxPositions,
    defaultPlan,
    get tokenizer() {
      return tokenizerOf(model);
    },
    toolFormat: tokenizer && toolFormatOf(tokenizer, model.generationConfig.eosTokenIds),
    structured: createStructuredOutput(model),
    inspector,
    planOf: createPlanner(defaultPlan, filesOf(profiles)),
    tokenText: (token) => decoder.decode(tokenizer?.tokenBytes(token) ?? new Uint8Array()),
    generate: (request) =>
      inspector ? inspector.generate(request, () => start(request)) : start(request),
  });
}
