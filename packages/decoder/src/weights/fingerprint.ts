import type { DecoderGraph } from "@kvcache/core";
import { expectedShapes } from "./check-weights.ts";
import type { SafetensorsWeights } from "./safetensors.ts";

const SAMPLED_BYTES = 1024;

/**
 * A name for exactly this model, 32 hex digits: a hash over its graph, the name, dtype and shape of
 * every tensor that the graph reads, and the first bytes of each, so that two fine-tunes of one
 * model differ. Caches and snapshots are keyed by it; how the files are sharded plays no part.
 */
export async function fingerprint(
  graph: DecoderGraph,
  weights: SafetensorsWeights,
): Promise<string> {
  const names = [...expectedShapes(graph).keys()].sort();
  const layout = names.map((name) => {
    const { dtype, shape } = weights.entries.get(name)!;
    return [name, dtype, shape];
  });
  // Copies: a Blob takes no shared memory.
  const samples = names.map((name) => Uint8Array.from(weights.sample(name, SAMPLED_BYTES)));
  const text = new TextEncoder().encode(JSON.stringify([graph, layout]));
  const hash = await crypto.subtle.digest(
    "SHA-256",
    await new Blob([text, ...samples]).arrayBuffer(),
  );
  return Array.from(new Uint8Array(hash, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}
