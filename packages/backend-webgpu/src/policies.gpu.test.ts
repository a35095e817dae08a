import { recordCompression } from "@kvcache/engine";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type DeviceBatch, deviceBatch } from "./device-batch.ts";
import { devicePolicies, modelOf } from "./device-policies.ts";

let t: DeviceBatch;
beforeAll(async () => {
  t = await deviceBatch();
});
afterAll(() => t.dispose());

it.each(Object.entries(devicePolicies))(
  "%s keeps what its reference keeps",
  async (name, policy) => {
    for (const phase of ["prefill", "decode"] as const)
      for (const part of ["counts", "indptr", "indices"] as const)
        await t.agree(`${name}, ${phase}, ${part}`, (encoder, given) => {
          const { protect } = policy;
          const batch = { ...given, protect, phase, model: modelOf(given) };
          const recorded = recordCompression(encoder, batch, policy, { ratio: 0.4 });
          return part === "counts" ? recorded.counts : recorded.keep[part];
        });
  },
);

it("an event is one submit", async () => {
  for (const [name, policy] of Object.entries(devicePolicies)) {
    const encoder = t.session.encoder();
    const { protect } = policy;
    const batch = { ...t.batch, protect, model: modelOf(t.batch) };
    const before = t.submits();
    recordCompression(encoder, batch, policy, { ratio: 0.4 });
    await encoder.submit();
    expect(t.submits() - before, name).toBe(1);
  }
});

it("nothing fell back to the host", () => {
  expect(Object.fromEntries(t.session.fallbacks())).toEqual({});
});
