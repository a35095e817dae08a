import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";

// tanh(x) of a large x is computed as ∞ / ∞ by some drivers, so its argument is clamped: beyond 15
// the result is ±1 in float32 anyway.
const activations = {
  silu: "x / (1.0 + exp(-x))",
  "gelu-tanh":
    "0.5 * x * (1.0 + tanh(clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), -15.0, 15.0)))",
} as const;

const codeOf = (activation: keyof typeof activations) =>
  forEachCode(`let x = gate[i]; out[i] = ${activations[activation]} * up[i];`);
const codes = { silu: codeOf("silu"), "gelu-tanh": codeOf("gelu-tanh") };

export interface GatedActivationWgslParams {
  /** f32 [count]. */
  readonly gate: WgslBuffer;
  readonly up: WgslBuffer;
  readonly out: WgslBuffer;
  readonly activation: keyof typeof activations;
  readonly count: number;
}

/** activation(gate) × up. */
export const gatedActivationWgsl = (params: GatedActivationWgslParams): WgslDispatch => ({
  name: `gated-activation ${params.activation}`,
  code: codes[params.activation],
  u32: { count: params.count },
  reads: { gate: { buffer: params.gate, type: "f32" }, up: { buffer: params.up, type: "f32" } },
  writes: { out: { buffer: params.out, type: "f32" } },
  workgroups: workgroupsFor(params.count),
});
