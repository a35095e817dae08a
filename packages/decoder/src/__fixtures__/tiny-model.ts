import { buildGraph } from "../build-graph.ts";
import { parseConfig } from "../config/decoder-config.ts";
import type { JsonObject } from "../files/json-file.ts";
import { expectedShapes } from "../weights/check-weights.ts";

export interface TinyTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export const encode = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

export const f32 = (shape: readonly number[], values: Iterable<number>): TinyTensor => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});

/** 8 bytes of header length, header, data. */
export function safetensorsFile(header: unknown, data = new Uint8Array(), length?: bigint) {
  const text = encode(header);
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

/** Header entries and data of tensors laid out one behind the other. */
export function layOut(tensors: Readonly<Record<string, TinyTensor>>) {
  const header: Record<string, { dtype: string; shape: unknown; data_offsets: unknown }> = {};
  const parts: number[] = [];
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [parts.length, parts.length + bytes.length] };
    parts.push(...bytes);
  }
  return { header, data: Uint8Array.from(parts) };
}

export function safetensors(tensors: Readonly<Record<string, TinyTensor>>): Uint8Array {
  const { header, data } = layOut(tensors);
  return safetensorsFile(header, data);
}

export const llamaConfig = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 8,
  intermediate_size: 12,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  num_hidden_layers: 1,
  vocab_size: 10,
  eos_token_id: 2,
};

/** Every tensor that a config asks for, with values that differ from tensor to tensor. */
export function tinyTensors(config: JsonObject): Record<string, TinyTensor> {
  let seed = 1;
  const shapes = expectedShapes(buildGraph(parseConfig(config)));
  const tensors = [...shapes].map(([name, shape]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return [name, f32(shape, Array.from({ length: size }, () => Math.sin(seed++)))] as const;
  });
  return Object.fromEntries(tensors);
}

export function tinyFiles(config: JsonObject = llamaConfig): Map<string, Uint8Array> {
  return new Map([
    ["config.json", encode(config)],
    ["model.safetensors", safetensors(tinyTensors(config))],
  ]);
}
