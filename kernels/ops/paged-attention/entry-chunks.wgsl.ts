import type { QuadDtype } from "../../src/quads.ts";

/** An entry (a key or a value) as a thread loads it: `count` elements of `type`, 16 bytes where it can. */
export interface EntryChunks {
  readonly type: string;
  readonly count: number;
  /** Quads of numbers per element. */
  readonly quads: number;
  /** WGSL: `quadOf(chunk, q)`. */
  readonly code: string;
}

export function entryChunks(dtype: QuadDtype, headDim: number): EntryChunks {
  if (dtype === "f32")
    return {
      type: "vec4f",
      count: headDim / 4,
      quads: 1,
      code: "fn quadOf(x: vec4f, q: u32) -> vec4f { return x; }",
    };
  const wide = headDim % 8 === 0;
  const type = wide ? "vec4u" : "vec2u";
  return {
    type,
    count: headDim / (wide ? 8 : 4),
    quads: wide ? 2 : 1,
    code: `fn quadOf(x: ${type}, q: u32) -> vec4f {
  return vec4f(unpack2x16float(x[2u * q]), unpack2x16float(x[2u * q + 1u]));
}`,
  };
}
