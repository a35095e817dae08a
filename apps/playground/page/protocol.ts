import type { Explanation } from "@kvcache/engine";

/** Where a model's files come from. */
export type ModelSource =
  /** A folder on a web server, with a slash at its end; its files are stored for the next visit. */
  | { readonly kind: "url"; readonly url: string; readonly name: string }
  /** Files that the user picked or dropped; they stay where they are. */
  | { readonly kind: "files"; readonly files: readonly File[]; readonly name: string };

export type Device = "gpu" | "cpu";
export const sideNames = ["a", "b"] as const;
export type SideName = (typeof sideNames)[number];

export interface SidePlan {
  readonly policy: string;
  /** Fraction of the tokens kept, in (0, 1]. */
  readonly ratio: number;
}

export interface Comparison {
  /** Text in front of the question. */
  readonly text: string;
  readonly question: string;
  readonly maxTokens: number;
  /** Evict before the question is read: no policy can look ahead to what will be asked. */
  readonly hideQuestion: boolean;
  readonly sides: Readonly<Record<SideName, SidePlan>>;
}

export type Request =
  | {
      readonly type: "open";
      readonly source: ModelSource;
      readonly device: Device;
      readonly contextTokens: number;
    }
  | ({ readonly type: "cut"; readonly id: number } & CutRequest)
  | ({ readonly type: "compare" } & Comparison)
  | { readonly type: "stop" }
  /** Deletes the models that are stored in this browser. */
  | { readonly type: "forget" };

export interface CutRequest {
  readonly text: string;
  readonly numTokens: number;
  /** A passage that must stay in. */
  readonly anchor: string | undefined;
}

export interface OpenedModel {
  readonly name: string;
  /** What computes, in words. */
  readonly device: string;
  /** WebGPU in software, or the reference backend: slow, and to be told. */
  readonly emulated: "none" | "software-gpu" | "cpu";
  readonly numLayers: number;
  readonly numKvHeads: number;
  readonly contextTokens: number;
  /** Bytes that one token takes in the cache. */
  readonly tokenBytes: number;
  readonly cacheBytes: number;
  /** Whether the files are in this browser's own storage. */
  readonly stored: boolean;
}

export interface MemoryCounts {
  /** Buffers on the GPU and their bytes; 0 on the CPU. */
  readonly buffers: number;
  readonly bytes: number;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
}

export interface SideResult {
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly promptTokens: number;
  readonly reusedTokens: number;
  readonly tokensKept: number;
  readonly bytesPeak: number;
  readonly bytesNow: number;
  readonly compressions: number;
  readonly firstTokenMs: number;
  /** NaN where the answer has fewer than two tokens. */
  readonly tokensPerSecond: number;
  /** Kernels that ran on the CPU for want of an implementation on the GPU: name and calls. */
  readonly fallbacks: readonly (readonly [name: string, calls: number])[];
  readonly stopped: boolean;
}

export type SideEvent =
  | { readonly type: "start"; readonly expected: Pick<Explanation, "keptTokens" | "bytesBefore"> }
  | { readonly type: "prefill"; readonly done: number; readonly total: number }
  /** Entries of each row, [numLayers × numKvHeads], and the bytes of their blocks. */
  | { readonly type: "lengths"; readonly lengths: Uint32Array; readonly bytes: number }
  /** Which positions each row kept: one bit each, rows padded to whole bytes. */
  | { readonly type: "kept"; readonly positions: number; readonly bits: Uint8Array }
  | { readonly type: "token"; readonly text: string; readonly tokenText: string }
  | { readonly type: "end"; readonly result: SideResult }
  | { readonly type: "failed"; readonly failure: Failure };

export type Reply =
  | {
      readonly type: "progress";
      readonly stage: "download" | "load";
      readonly done: number;
      readonly total: number;
    }
  | { readonly type: "opened"; readonly model: OpenedModel }
  | { readonly type: "open-failed"; readonly failure: Failure }
  /** A request failed as a whole: a model without a tokenizer, say. */
  | { readonly type: "failed"; readonly failure: Failure }
  | { readonly type: "cut"; readonly id: number; readonly text: string; readonly numTokens: number }
  /** The prompt, token by token. */
  | { readonly type: "prompt"; readonly tokens: readonly string[] }
  | { readonly type: "side"; readonly side: SideName; readonly event: SideEvent }
  | { readonly type: "done"; readonly memory: MemoryCounts };
