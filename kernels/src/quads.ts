import type { StorageDtype } from "@kvcache/core";

/*
 * WGSL kernels read rows of numbers four at a time: a quad is a vec4f where numbers are stored as
 * f32 and two words of two halves each where they are stored as f16 (which needs no shader-f16).
 */

export type QuadDtype = Extract<StorageDtype, "f32" | "f16">;

/** WGSL element type of an array of stored quads. */
export const quadType = (dtype: QuadDtype): string => (dtype === "f32" ? "vec4f" : "vec2u");

/** WGSL functions `toQuad` (stored → vec4f) and `fromQuad` (vec4f → stored). */
export const quadCode = (dtype: QuadDtype): string =>
  dtype === "f32"
    ? /* wgsl */ `
fn toQuad(x: vec4f) -> vec4f { return x; }
fn fromQuad(x: vec4f) -> vec4f { return x; }
`
    : /* wgsl */ `
fn toQuad(x: vec2u) -> vec4f { return vec4f(unpack2x16float(x.x), unpack2x16float(x.y)); }
fn fromQuad(x: vec4f) -> vec2u { return vec2u(pack2x16float(x.xy), pack2x16float(x.zw)); }
`;

/** Text for each of 0 … count − 1: unrolls loops over registers. */
export const unrolled = (count: number, text: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => text(i)).join("\n");

/**
 * WGSL: sum += dot(a, b), one product at a time: multiply-adds alone, where dot() and an addition
 * make a fifth instruction.
 */
export const growing = (sum: string, a: string, b: string): string =>
  [..."xyzw"].map((x) => `${sum} += ${a}.${x} * ${b}.${x};`).join(" ");
