import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";

const code = forEachCode("out[i] = a[i] + params.scale * b[i];");

export interface AddWgslParams {
  /** f32 [count]. */
  readonly a: WgslBuffer;
  readonly b: WgslBuffer;
  readonly out: WgslBuffer;
  readonly scale: number;
  readonly count: number;
}

/** a + scale × b. */
export const addWgsl = ({ a, b, out, scale, count }: AddWgslParams): WgslDispatch => ({
  name: "add",
  code,
  u32: { count },
  f32: { scale },
  reads: { a: { buffer: a, type: "f32" }, b: { buffer: b, type: "f32" } },
  writes: { out: { buffer: out, type: "f32" } },
  workgroups: workgroupsFor(count),
});
