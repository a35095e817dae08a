import {
  type CacheManager,
  type HostCache,
  KvCacheError,
  type LoadedModel,
  numRows,
  type Signal,
  signalFlag,
} from "@kvcache/core";
import { rowView, slotOf } from "@kvcache/kernels";
import type { Sequence } from "./sequence.ts";
import type { StepAssembler } from "./step-assembler.ts";

export interface ReplayTools {
  readonly cache: CacheManager;
  readonly model: LoadedModel;
  readonly assembler: StepAssembler;
  readonly tokenize: (text: string) => Int32Array;
  readonly maxBatchTokens: number;
}

/**
 * Runs the extra forward passes of a `replay` signal: feeds each pass behind the cached tokens,
 * gathers the attention that slots at positions [start, end) receive from it, and takes the pass's
 * own entries out again. Afterwards Σa of every slot is the largest (or summed) attention it got.
 * Throws `unsupported` where the cache is not host memory and `out-of-blocks` without room for the
 * longest pass.
 */
export async function runReplay(
  sequence: Sequence,
  replay: Extract<Signal, { kind: "replay" }>,
  { cache, model, assembler, tokenize, maxBatchTokens }: ReplayTools,
): Promise<void> {
  const { host } = cache;
  if (!host)
    throw new KvCacheError("unsupported", "Replay passes need a cache in host memory.", {
      remedy: "Use a policy without the replay signal on this backend.",
    });
  const slot = sequence.slot!;
  cache.unshare(slot);
  const gathered = gatherer(host, slot, replay.reduce);
  const tokenIds = sequence.tokens.ids.slice(0, sequence.cached);
  const flag = replay.reduce === "max" ? signalFlag.maxAttention : signalFlag.sumAttention;
  for (const pass of replay.passes({ tokenIds, tokenize })) {
    gathered.clear();
    const end = sequence.position + pass.tokenIds.length;
    const ropeLengths = new Int32Array(pass.tokenIds.length).fill(end);
    try {
      for (let from = 0; from < pass.tokenIds.length; from += maxBatchTokens) {
        const count = Math.min(maxBatchTokens, pass.tokenIds.length - from);
        cache.append(slot, count);
        await model.forward(
          assembler.assemble([
            {
              slot,
              ids: pass.tokenIds,
              ropeLengths,
              from,
              count,
              position: sequence.position + from,
              signalFlags: flag,
              attentionBuffer: 0,
              logits: "none",
            },
          ]),
        );
      }
      gathered.take(pass.start, pass.end);
    } finally {
      cache.truncate(slot, sequence.position);
    }
  }
  gathered.write();
}

/** Collects the side channel Σa of a sequence's slots over several passes. */
function gatherer(host: HostCache, slot: number, reduce: "max" | "sum") {
  const { shape, layerMap } = host.layout;
  const { numKvHeads } = shape;
  const rows = Array.from({ length: numRows(shape) }, (_, row) => ({
    layer: Math.floor(row / numKvHeads),
    head: row % numKvHeads,
  })).filter(({ layer }) => layerMap[layer] === layer);
  const totals = rows.map(
    ({ layer, head }) => new Float32Array(rowView(host, slot, layer, head).length),
  );
  /** Visits the slots that were cached before the passes; appending may have moved their blocks. */
  const forEachSlot = (
    visit: (
      sums: Float32Array,
      physical: number,
      total: Float32Array,
      j: number,
      position: number,
    ) => void,
  ) =>
    rows.forEach(({ layer, head }, i) => {
      const view = rowView(host, slot, layer, head);
      const { sumAttention, positions } = view.arena;
      for (let j = 0; j < totals[i]!.length; j++) {
        const physical = slotOf(view, j);
        visit(sumAttention, physical, totals[i]!, j, positions[physical]!);
      }
    });
  return {
    clear: () =>
      forEachSlot((sums, physical) => {
        sums[physical] = 0;
      }),
    take: (start: number, end: number) =>
      forEachSlot((sums, physical, total, j, position) => {
        if (position < start || position >= end) return;
        total[j] =
          reduce === "max" ? Math.max(total[j]!, sums[physical]!) : total[j]! + sums[physical]!;
      }),
    write: () =>
      forEachSlot((sums, physical, total, j) => {
        sums[physical] = total[j]!;
      }),
  };
}
