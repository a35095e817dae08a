import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "./wgsl-thread.ts";

const code = forEachCode("words[u32(pairs[2u * i])] = pairs[2u * i + 1u];");

export interface ScatterWordsParams {
  /** i32 [numPairs, 2]: index, word. */
  readonly pairs: WgslBuffer;
  readonly numPairs: number;
  readonly words: WgslBuffer;
}

/** words[index] = word for every pair: how changes of tables travel to a device. */
export const scatterWordsWgsl = ({ pairs, numPairs, words }: ScatterWordsParams): WgslDispatch => ({
  name: "scatter-words",
  code,
  u32: { count: numPairs },
  reads: { pairs: { buffer: pairs, type: "i32" } },
  writes: { words: { buffer: words, type: "i32" } },
  workgroups: workgroupsFor(numPairs),
});
