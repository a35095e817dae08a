import { type HostTensor, hostTensor, type KvBatch, type Tensor } from "@kvcache/core";
import { DeviceTensor } from "./device-tensor.ts";
import { getOrMake } from "./get-or-make.ts";

const isPlain = (value: object): boolean => {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
};

/** Tensors and batches that stand anywhere in the parameters of a kernel. */
export interface FoundParams {
  readonly tensors: ReadonlySet<DeviceTensor>;
  readonly batches: ReadonlySet<KvBatch>;
}

export function findParams(params: unknown, isBatch: (value: object) => boolean): FoundParams {
  const tensors = new Set<DeviceTensor>();
  const batches = new Set<KvBatch>();
  const seen = new Set<unknown>();
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null || seen.has(value)) return;
    seen.add(value);
    if (value instanceof DeviceTensor) tensors.add(value);
    else if (isBatch(value)) batches.add(value as KvBatch);
    else if (Array.isArray(value)) value.forEach(visit);
    else if (isPlain(value)) Object.values(value).forEach(visit);
  };
  visit(params);
  return { tensors, batches };
}

/** The same parameters with every device tensor and batch replaced by one in host memory. */
export function toHost<P>(params: P, hostBatch: (batch: object) => KvBatch | undefined): P {
  const known = new Map<DeviceTensor, HostTensor>();
  const tensorOf = (tensor: DeviceTensor): Tensor =>
    getOrMake(known, tensor, () => hostTensor(tensor.onHost(true)));
  const visit = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value;
    if (value instanceof DeviceTensor) return tensorOf(value);
    const batch = hostBatch(value);
    if (batch) return batch;
    if (Array.isArray(value)) return value.map(visit);
    if (!isPlain(value) || "data" in value) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, visit(item)]));
  };
  return visit(params) as P;
}
