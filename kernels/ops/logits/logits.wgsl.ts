import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";

const plain = forEachCode("out[i] = params.scale * input[i];");
// The clamp is for drivers whose tanh overflows: see gated-activation.
const capped = forEachCode(/* wgsl */ `
  let x = params.scale * input[i] / params.softcap;
  out[i] = params.softcap * tanh(clamp(x, -15.0, 15.0));
`);

export interface LogitsWgslParams {
  /** f32 [count]. */
  readonly input: WgslBuffer;
  readonly out: WgslBuffer;
  readonly scale: number;
  readonly softcap?: number | undefined;
  readonly count: number;
}

/** scale × input, then softcap × tanh(· / softcap). */
export const logitsWgsl = ({
  input,
  out,
  scale,
  softcap,
  count,
}: LogitsWgslParams): WgslDispatch => ({
  name: "logits",
  code: softcap === undefined ? plain : capped,
  u32: { count },
  f32: softcap === undefined ? { scale } : { scale, softcap },
  reads: { input: { buffer: input, type: "f32" } },
  writes: { out: { buffer: out, type: "f32" } },
  workgroups: workgroupsFor(count),
});
