import {
  checkOneOf,
  checkWholeNumber,
  defineKernel,
  groupSize,
  hostArray,
  type KvBatch,
  KvCacheError,
  type Observation,
  type ReplayContext,
  type ReplayPass,
  type Scorer,
  type Tensor,
} from "@kvcache/core";
import { forEachRow, gatherPositions, gatherValues, outputNorms } from "@kvcache/kernels";
import { replayTable, replayTableOf } from "./replay-table.ts";

export interface RepeatAttentionOptions {
  /** First tokens that every pass sees beside its chunk. Default 4. */
  readonly sinks?: number;
  /** Tokens that the model is asked to repeat at a time. Default 2048. */
  readonly chunk?: number;
  /** First token that is repeated: the one after the chat prefix (default), or after the sinks. */
  readonly from?: "chat-prefix" | "sinks";
  /** Weighs attention by what it writes: ‖W_O v‖ ÷ ‖input of the block at the query‖. */
  readonly normalize?: boolean;
}

/** Tokens of the previous chunk that later passes are told to start with. */
const lastTokens = 8;

/**
 * The most attention that a token gets while the model repeats its own context, chunk by chunk: over
 * all queries of the pass and all query heads of the group, softmax over sinks, chunk and pass only.
 * Tokens that no pass repeats score 0. Kim et al. 2025, arXiv:2505.23416 (KVzip). Throws
 * `invalid-argument` naming the option that is out of range.
 */
export function repeatAttention(given: RepeatAttentionOptions = {}): Scorer {
  const options = { sinks: 4, chunk: 2048, from: "chat-prefix", normalize: false, ...given };
  const { sinks, chunk, from, normalize } = options as Required<RepeatAttentionOptions>;
  checkWholeNumber("sinks", sinks, 0);
  checkWholeNumber("chunk", chunk, 1);
  checkOneOf("from", from, ["chat-prefix", "sinks"]);
  const startOf = ({ tokenIds, chat }: ReplayContext) => {
    const start = from === "sinks" ? sinks : prefixLength(tokenIds, chat?.prefix);
    return start < tokenIds.length ? start : 0;
  };
  return Object.freeze<Scorer>({
    name: "repeat-attention",
    options: { sinks, chunk, from, normalize },
    needs: [
      { kind: "replay", passes: (context) => repeatPasses(context, startOf(context), chunk) },
      { kind: "chunkQueries" },
      ...(normalize ? ([{ kind: "hidden" }, { kind: "outputWeight" }] as const) : []),
    ],
    createObserver: (layout) =>
      replayTable(layout, {
        reduce: "max",
        seen: ({ start, end }) => [
          { from: 0, to: Math.min(sinks, start) },
          { from: start, to: end },
        ],
        ...(normalize && { factors: inverseNorms }),
      }),
    score: (encoder, batch, out) => encoder.run(groupMaximum, { batch, out, normalize }),
  });
}

/** Length of the prefix if the tokens begin with it. */
const prefixLength = (tokenIds: Int32Array, prefix: Int32Array = new Int32Array(0)): number =>
  prefix.every((id, i) => tokenIds[i] === id) ? prefix.length : 0;

/** The context from `start` on, a pass for each chunk of it: request, chat suffix, chunk. */
function repeatPasses(context: ReplayContext, start: number, chunk: number): ReplayPass[] {
  const { tokenIds, tokenize, chat } = context;
  const suffix = chat?.suffix ?? tokenize("\n");
  const passes: ReplayPass[] = [];
  for (let begin = start; begin < tokenIds.length; begin += chunk) {
    const end = Math.min(tokenIds.length, begin + chunk);
    const request =
      begin === start
        ? [...tokenize("\n\nRepeat the previous context exactly.")]
        : [
            ...tokenize("\n\nRepeat the part of the previous context exactly, starting with"),
            ...tokenIds.subarray(Math.max(start, begin - lastTokens), begin),
          ];
    const own = tokenIds.subarray(begin, end);
    passes.push({ tokenIds: Int32Array.of(...request, ...suffix, ...own), start: begin, end });
  }
  return passes;
}

/** 1 ÷ ‖hidden‖₂ of every token of a part. */
function inverseNorms(observation: Observation, layer: number): Float32Array {
  const hidden = observation.hidden(layer);
  const count = observation.tokenIds.length;
  const size = hidden.length / count;
  return Float32Array.from({ length: count }, (_, i) => {
    let squares = 0;
    for (let c = i * size; c < (i + 1) * size; c++) squares += hidden[c]! ** 2;
    return 1 / Math.sqrt(squares);
  });
}

/** Per row and slot: the group's maximum of what the table holds, weighed by ‖W_O v‖ if asked. */
export const groupMaximum = defineKernel<{
  readonly batch: KvBatch;
  readonly out: Tensor;
  readonly normalize: boolean;
}>({
  name: "group-maximum",
  reference({ batch, out, normalize }) {
    const scores = hostArray(out, "f32");
    const perGroup = groupSize(batch.shape);
    const norms = normalize ? outputNorms(batch.shape, modelOf(batch)) : undefined;
    forEachRow(batch, ({ view, layer, head, begin, end, sequenceIndex }) => {
      const { width, layer: tableOf } = replayTableOf(batch, sequenceIndex);
      const table = tableOf(layer);
      const positions = gatherPositions(view);
      const values = norms && gatherValues(view);
      scores.fill(0, begin, end);
      for (let member = 0; member < perGroup; member++) {
        const queryHead = head * perGroup + member;
        const factors = norms?.of(layer, queryHead, values!);
        positions.forEach((position, j) => {
          const score = table[queryHead * width + position]! * (factors?.[j] ?? 1);
          if (score > scores[begin + j]!) scores[begin + j] = score;
        });
      }
    });
  },
});

function modelOf({ model }: KvBatch) {
  if (model) return model;
  throw new KvCacheError("missing-signal", "This score weighs values by the model's W_O.", {
    remedy: "Give the batch a model, as the engine does.",
  });
}
