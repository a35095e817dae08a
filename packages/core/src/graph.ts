import type { RopeParameters } from "./rope.ts";
import type { KvShape } from "./shape.ts";

/** Rows [start, end) of a stored tensor; all of it when `rows` is absent. */
export interface WeightRef {
  readonly name: string;
  readonly rows?: readonly [start: number, end: number];
}

/** A node writes the value `out`, [T, width], from values that earlier nodes wrote. */
export type GraphNode =
  /** Rows of `weight` [vocabSize, width] at the step's token ids, times `scale`. */
  | {
      readonly op: "embed";
      readonly out: string;
      readonly weight: WeightRef;
      readonly scale: number;
    }
  /** x / rms(x) × weight (+ 1 where `unitOffset`), over groups of weight.length values. */
  | {
      readonly op: "rmsNorm";
      readonly out: string;
      readonly input: string;
      readonly weight: WeightRef;
      readonly epsilon: number;
      readonly unitOffset: boolean;
    }
  /** input [T, inFeatures] × weight [outFeatures, inFeatures]ᵀ + bias. */
  | {
      readonly op: "linear";
      readonly out: string;
      readonly input: string;
      readonly weight: WeightRef;
      readonly bias?: WeightRef;
      readonly inFeatures: number;
      readonly outFeatures: number;
    }
  /** Half-split rotation of `numHeads` heads by table `table` of the graph's ropes. */
  | {
      readonly op: "rope";
      readonly out: string;
      readonly input: string;
      readonly table: number;
      readonly numHeads: number;
    }
  /** Writes key and value into the cache, attends over it: query, out [T, numQueryHeads × headDim]. */
  | {
      readonly op: "pagedAttention";
      readonly out: string;
      readonly query: string;
      readonly key: string;
      readonly value: string;
      readonly layer: number;
      readonly scale: number;
      /** A query at p sees positions p − slidingWindow + 1 … p. */
      readonly slidingWindow?: number;
      /** Logits become softcap × tanh(logit / softcap). */
      readonly softcap?: number;
    }
  /** activation(gate) × up. */
  | {
      readonly op: "gatedActivation";
      readonly out: string;
      readonly gate: string;
      readonly up: string;
      readonly activation: "silu" | "gelu-tanh";
    }
  /** a + scale × b. */
  | {
      readonly op: "add";
      readonly out: string;
      readonly a: string;
      readonly b: string;
      readonly scale: number;
    }
  /** The rows of `input` at the step's logit indices: [numLogits, width]. */
  | { readonly op: "gather"; readonly out: string; readonly input: string }
  /** scale × input, then softcap: the last node of a graph. */
  | {
      readonly op: "logits";
      readonly out: string;
      readonly input: string;
      readonly scale: number;
      readonly softcap?: number;
    };

/** What a decoder is, without saying where it runs. Nodes are in an order that can be executed. */
export interface DecoderGraph {
  readonly shape: KvShape;
  readonly hiddenSize: number;
  readonly vocabSize: number;
  readonly maxPositions: number;
  /** Rope tables; node "rope" names one by index. */
  readonly ropes: readonly RopeParameters[];
  /** Positions that each layer can see, itself included; undefined = all. */
  readonly slidingWindow: readonly (number | undefined)[];
  readonly nodes: readonly GraphNode[];
  /** Name of the value that holds the logits. */
  readonly output: string;
}
