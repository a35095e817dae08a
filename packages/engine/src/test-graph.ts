import type { GraphNode, KvShape, StepInput } from "@kvcache/core";

/** 32-bit mix of three integers (after Murmur3's finalizer). */
export function mix(a: number, b: number, c: number): number {
  let h = Math.imul(a + 0x9e37, 0x85ebca6b) ^ Math.imul(b + 0x79b9, 0xc2b2ae35) ^ Math.imul(c, 77);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return (h ^ (h >>> 15)) >>> 0;
}

/** Nodes as a decoder's attention blocks have them; the fake model does not run them. */
export function fakeNodes({ numLayers, numQueryHeads, numKvHeads, headDim }: KvShape): GraphNode[] {
  const nodes: GraphNode[] = [{ op: "embed", out: "x", weight: { name: "embedding" }, scale: 1 }];
  const width = numQueryHeads * headDim;
  let residual = "x";
  for (let layer = 0; layer < numLayers; layer++) {
    const at = (name: string) => `${layer}.${name}`;
    const norm = { weight: { name: at("norm") }, epsilon: 1e-6, unitOffset: false };
    const linear = (out: string, input: string): GraphNode => ({
      op: "linear",
      out: at(out),
      input: at(input),
      weight: { name: at(`${out} weight`) },
      inFeatures: width,
      outFeatures: width,
    });
    const rope = (out: string, input: string, numHeads: number): GraphNode => ({
      op: "rope",
      out: at(out),
      input: at(input),
      table: 0,
      numHeads,
    });
    nodes.push(
      { op: "rmsNorm", out: at("hidden"), input: residual, ...norm },
      ...["q", "k", "v"].map((name) => linear(name, "hidden")),
      rope("query", "q", numQueryHeads),
      rope("key", "k", numKvHeads),
      {
        op: "pagedAttention",
        out: at("attention"),
        query: at("query"),
        key: at("key"),
        value: at("v"),
        layer,
        scale: 1,
      },
      linear("output", "attention"),
      { op: "add", out: at("sum"), a: residual, b: at("output"), scale: 0.5 },
    );
    residual = at("sum");
  }
  return nodes;
}

/** What the fake model's value of that name holds of a token: [8]. */
export function tapRow(name: string, id: number, position: number): number[] {
  const what = [...name].reduce((hash, letter) => mix(hash, letter.charCodeAt(0), 3), 0);
  return Array.from({ length: 8 }, (_, i) =>
    Math.fround(mix(what, id, position * 8 + i) / 2 ** 32),
  );
}

/** The whole value in a pass: [T, 8]. */
export const tapOf = (name: string, { tokenIds, positions }: StepInput): Float32Array =>
  Float32Array.from(Array.from(tokenIds, (id, t) => tapRow(name, id, positions[t]!)).flat());
