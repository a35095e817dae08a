import type { KvBatch } from "./batch.ts";
import type { Encoder } from "./encoder.ts";
import type { RopeParameters } from "./rope.ts";
import type { ReplayPass } from "./signal.ts";

/** What a policy may know of the model beside its cache. */
export interface ModelView {
  readonly hiddenSize: number;
  /** RoPE of a layer's queries and keys; undefined where it rotates nothing. */
  rope(layer: number): RopeParameters | undefined;
  /** Output projection W_O, f32 [hiddenSize, numQueryHeads × headDim]; made once and kept. */
  outputWeight(layer: number): Float32Array;
}

/**
 * One sequence's share of a forward pass. The arrays are valid until what was recorded from them has
 * run; each one is there if the policy named the signal behind it, else it throws `missing-signal`.
 */
export interface Observation {
  /** Position of the first token. */
  readonly start: number;
  readonly tokenIds: Int32Array;
  /** Signal `chunkQueries`: after RoPE, f32 [count, numQueryHeads × headDim]. */
  queries(layer: number): Float32Array;
  /** Signal `queryStatistics`: before RoPE, f32 [count, numQueryHeads × headDim]. */
  queriesPreRope(layer: number): Float32Array;
  /** Signal `hidden`: input of the attention block after its norm, f32 [count, hiddenSize]. */
  hidden(layer: number): Float32Array;
  /** Signal `headOutputs`: attention output before W_O, f32 [count, numQueryHeads × headDim]. */
  headOutputs(layer: number): Float32Array;
  /** Signal `headOutputs`: the residual stream before the block and what the block adds to it. */
  residual(layer: number): Float32Array;
  attentionOutput(layer: number): Float32Array;
}

/**
 * What a scorer gathers from one sequence's forward passes, for the events to come. It keys what it
 * keeps by position, for slots move when a cache is compacted. The calls are synchronous, so long
 * work is recorded onto the encoder, a layer at a time; it is submitted before the next step.
 */
export interface Observer {
  /** After every forward pass of the sequence; the batch has its rows, the new tokens included. */
  observe?(encoder: Encoder, observation: Observation, batch: KvBatch): void;
  /**
   * After every part of a replay pass; the batch has the sequence's rows, the entries of the pass
   * so far included: those at positions ≥ `cached`, the tokens that were cached before it.
   */
  replay?(
    encoder: Encoder,
    pass: ReplayPass & { readonly index: number; readonly cached: number },
    observation: Observation,
    batch: KvBatch,
  ): void;
  /** Forgets positions ≥ `position`. */
  truncate(position: number): void;
  /** A second one with the same contents, for a forked sequence. */
  fork(): Observer;
}
