import { type HostCache, KvCacheError, type KvCacheErrorCode } from "@kvcache/core";
import type { SegmentRunner } from "./segment-runner.ts";

export interface WorkerStart {
  readonly host: HostCache;
  readonly threads: number;
}

/** A call of a method of the worker's {@link SegmentRunner}. */
export interface WorkerRequest {
  readonly id: number;
  readonly method: keyof SegmentRunner;
  readonly arguments: readonly unknown[];
}

export type WorkerReply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: PackedError };

/** An error as plain data: a clone of a KvCacheError would lose its class and code. */
export interface PackedError {
  readonly code: KvCacheErrorCode | undefined;
  readonly message: string;
}

export const packError = (error: unknown): PackedError => ({
  code: error instanceof KvCacheError ? error.code : undefined,
  message: error instanceof Error ? error.message : String(error),
});

export const unpackError = ({ code, message }: PackedError): Error =>
  code === undefined ? new Error(message) : new KvCacheError(code, message);
