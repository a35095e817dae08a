import type { KvShape } from "@kvcache/core";
import type { QueryStatistics } from "@kvcache/kernels";
import {
  checkModelFingerprint,
  checkModelShape,
  checkTensorShape,
  type MethodFileIdentity,
  readMethodFile,
  tensorFingerprint,
  tensorOf,
  writeMethodFile,
} from "./method-file.ts";
import { readTensorFile } from "./tensor-file.ts";

/** Query statistics of one model, from many texts. */
export interface QueryStatisticsFile extends QueryStatistics, MethodFileIdentity {
  /** [numLayers, numQueryHeads, headDim]. */
  readonly shape: readonly [number, number, number];
  readonly covariances: Float32Array;
}

/** What a statistics file is made of. */
export interface QueryStatisticsParts extends Omit<QueryStatistics, "count"> {
  readonly shape: readonly [number, number, number];
  readonly covariances: Float32Array;
  readonly model?: string;
}

export const queryStatisticsOf = ({
  model = "",
  ...parts
}: QueryStatisticsParts): QueryStatisticsFile =>
  Object.freeze({
    ...parts,
    count: 1,
    model,
    fingerprint: tensorFingerprint(parts.means, parts.covariances),
  });

/**
 * Reads a file of method expected-attention: `queryMean` [layers, query heads, head dim] and
 * `queryCovariance` [layers, query heads, head dim, head dim], before RoPE. Throws `invalid-file`.
 */
export function readQueryStatistics(bytes: Uint8Array): QueryStatisticsFile {
  const { model, tensors } = readMethodFile(bytes, "expected-attention");
  return fromTensors(tensors, "queryMean", "queryCovariance", model);
}

/** Reads statistics as kvpress publishes them: a safetensors file of query_mean and query_cov. */
export const convertQueryStatistics = (bytes: Uint8Array, model = ""): QueryStatisticsFile =>
  fromTensors(readTensorFile(bytes).tensors, "query_mean", "query_cov", model);

function fromTensors(
  tensors: Parameters<typeof tensorOf>[0],
  meanName: string,
  covarianceName: string,
  model: string,
): QueryStatisticsFile {
  const mean = tensorOf(tensors, meanName, 3);
  const covariance = tensorOf(tensors, covarianceName, 4);
  checkTensorShape(covarianceName, covariance, [...mean.shape, mean.shape[2]!]);
  return queryStatisticsOf({
    shape: mean.shape as [number, number, number],
    means: mean.data,
    covariances: covariance.data,
    model,
  });
}

export const writeQueryStatistics = (
  statistics: QueryStatisticsFile,
  about: Readonly<Record<string, string>> = {},
  dtype: "F32" | "F16" = "F32",
): Uint8Array => {
  const { shape, means, covariances, model } = statistics;
  const tensors = new Map([
    ["queryMean", { shape, data: means }],
    ["queryCovariance", { shape: [...shape, shape[2]], data: covariances }],
  ]);
  return writeMethodFile({ method: "expected-attention", model, about, tensors }, dtype);
};

/** Throws `invalid-plan` where the statistics belong to another model, by shape or fingerprint. */
export function checkQueryStatistics(
  statistics: QueryStatisticsFile,
  { numLayers, numQueryHeads, headDim }: KvShape,
  fingerprint?: string,
): void {
  checkModelShape("query statistics", statistics.shape, [numLayers, numQueryHeads, headDim]);
  checkModelFingerprint("query statistics", statistics, fingerprint);
}
