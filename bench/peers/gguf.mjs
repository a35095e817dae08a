// Writes a Llama-architecture Hugging Face folder as a GGUF v3 file with f32 weights, so that
// llama.cpp runs exactly the weights that we run.
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const type = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };

const scalar = (bytes, write) => {
  const buffer = Buffer.alloc(bytes);
  write(buffer);
  return buffer;
};
const u32 = (value) => scalar(4, (b) => b.writeUInt32LE(value));
const i32 = (value) => scalar(4, (b) => b.writeInt32LE(value));
const u64 = (value) => scalar(8, (b) => b.writeBigUInt64LE(BigInt(value)));
const f32 = (value) => scalar(4, (b) => b.writeFloatLE(value));
const text = (value) => {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
};
const list = (kind, items) => Buffer.concat([u32(kind), u64(items.length), ...items]);

/** name → { shape, data: Float32Array } over all shards of a folder. */
function readTensors(folder) {
  const tensors = new Map();
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".safetensors"))) {
    const bytes = readFileSync(join(folder, file));
    const headerBytes = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString());
    for (const [name, { dtype, shape, data_offsets: range }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      const data = bytes.subarray(8 + headerBytes + range[0], 8 + headerBytes + range[1]);
      if (dtype !== "BF16" && dtype !== "F32") throw new Error(`${name}: ${dtype} is not handled`);
      const values = new Float32Array(data.length / (dtype === "F32" ? 4 : 2));
      const words = new Uint32Array(values.buffer);
      for (let i = 0; i < values.length; i++)
        words[i] = dtype === "F32" ? data.readUInt32LE(i * 4) : data.readUInt16LE(i * 2) << 16;
      tensors.set(name, { shape, data: values });
    }
  }
  return tensors;
}

/** llama.cpp rotates neighbouring pairs, Hugging Face halves: reorder the rows of q and k. */
function interleave({ shape, data }, numHeads) {
  const [rows, columns] = shape;
  const half = rows / numHeads / 2;
  const out = new Float32Array(data.length);
  for (let head = 0; head < numHeads; head++)
    for (let side = 0; side < 2; side++)
      for (let j = 0; j < half; j++) {
        const from = (head * 2 * half + side * half + j) * columns;
        out.set(data.subarray(from, from + columns), (head * 2 * half + 2 * j + side) * columns);
      }
  return { shape, data: out };
}

export function writeGguf(folder, path) {
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  const tokenizer = JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8"));
  const weights = readTensors(folder);
  const weight = (name) => weights.get(name);
  const special = new Map(tokenizer.added_tokens.map((token) => [token.content, token.id]));
  const vocabulary = [];
  for (const [token, id] of [...Object.entries(tokenizer.model.vocab), ...special])
    vocabulary[id] = token;
  const merges = tokenizer.model.merges.map((pair) =>
    Array.isArray(pair) ? pair.join(" ") : pair,
  );

  const meta = [];
  const set = (key, kind, value) => meta.push(Buffer.concat([text(key), u32(kind), value]));
  set("general.architecture", type.string, text("llama"));
  set("general.name", type.string, text("kvcache-tiny"));
  set("general.file_type", type.u32, u32(0));
  for (const [key, value] of Object.entries({
    block_count: config.num_hidden_layers,
    context_length: config.max_position_embeddings,
    embedding_length: config.hidden_size,
    feed_forward_length: config.intermediate_size,
    "attention.head_count": config.num_attention_heads,
    "attention.head_count_kv": config.num_key_value_heads,
    "rope.dimension_count": config.head_dim,
    vocab_size: config.vocab_size,
  }))
    set(`llama.${key}`, type.u32, u32(value));
  set("llama.attention.layer_norm_rms_epsilon", type.f32, f32(config.rms_norm_eps));
  set("llama.rope.freq_base", type.f32, f32(config.rope_theta));
  set("tokenizer.ggml.model", type.string, text("gpt2"));
  set("tokenizer.ggml.pre", type.string, text("qwen2"));
  set("tokenizer.ggml.tokens", type.array, list(type.string, vocabulary.map(text)));
  set(
    "tokenizer.ggml.token_type",
    type.array,
    list(
      type.i32,
      vocabulary.map((token) => i32(special.has(token) ? 3 : 1)),
    ),
  );
  set("tokenizer.ggml.merges", type.array, list(type.string, merges.map(text)));
  set("tokenizer.ggml.bos_token_id", type.u32, u32(config.bos_token_id));
  set("tokenizer.ggml.eos_token_id", type.u32, u32(config.eos_token_id));
  set("tokenizer.ggml.add_bos_token", type.bool, Buffer.from([0]));

  const tensors = [
    ["token_embd.weight", weight("model.embed_tokens.weight")],
    ["output_norm.weight", weight("model.norm.weight")],
  ];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const from = (name) => weight(`model.layers.${layer}.${name}.weight`);
    const block = (name, tensor) => tensors.push([`blk.${layer}.${name}.weight`, tensor]);
    block("attn_norm", from("input_layernorm"));
    block("attn_q", interleave(from("self_attn.q_proj"), config.num_attention_heads));
    block("attn_k", interleave(from("self_attn.k_proj"), config.num_key_value_heads));
    block("attn_v", from("self_attn.v_proj"));
    block("attn_output", from("self_attn.o_proj"));
    block("ffn_norm", from("post_attention_layernorm"));
    block("ffn_gate", from("mlp.gate_proj"));
    block("ffn_up", from("mlp.up_proj"));
    block("ffn_down", from("mlp.down_proj"));
  }

  const aligned = (bytes) => Math.ceil(bytes / 32) * 32;
  const infos = [];
  let offset = 0;
  for (const [name, { shape, data }] of tensors) {
    infos.push(
      text(name),
      u32(shape.length),
      ...[...shape].reverse().map(u64),
      u32(0),
      u64(offset),
    );
    offset = aligned(offset + data.byteLength);
  }
  const header = Buffer.concat([
    Buffer.from("GGUF"),
    u32(3),
    u64(tensors.length),
    u64(meta.length),
    ...meta,
    ...infos,
  ]);
  const file = openSync(path, "w");
  const writeAligned = (buffer) => {
    writeSync(file, buffer);
    writeSync(file, Buffer.alloc(aligned(buffer.length) - buffer.length));
  };
  writeAligned(header);
  for (const [, { data }] of tensors) writeAligned(Buffer.from(data.buffer));
  closeSync(file);
}
