import { headProfile, type KvShape } from "@kvcache/core";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { heatKV } from "./index.ts";

const profileOf = (
  { numLayers, numQueryHeads, numKvHeads }: KvShape,
  values = Array.from({ length: 3 * numLayers * numKvHeads }, (_, i) => (i * 7) % 5),
) =>
  headProfile({
    kind: "heat-kv",
    model: { name: "random", fingerprint: null },
    shape: { numLayers, numQueryHeads, numKvHeads },
    settings: { edges: [4, 12] },
    arrays: { mass: { shape: [numLayers, numKvHeads, 3], values } },
  });

testPolicy("heat-kv", (shape) => heatKV({ profile: profileOf(shape), sinks: 1, recent: 3 }));

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };
// The first head reads far, the second near.
const profile = profileOf(shape, [1, 1, 9, 2, 8, 1]);
const prefilled = () => {
  const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 40, windowSize: 0 });
  made.feed(0, 20, { flags: 0 });
  return made;
};
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

it("takes whole stretches from the heads that read them least", async () => {
  const policy = heatKV({ profile, sinks: 1, recent: 4 });
  const { kept } = await compressOnce(prefilled(), policy, { ratio: 0.75 });
  // Stretches: distances 0–3, 4–11, 12 and more; each leaves the one head that needs it less.
  expect(kept).toEqual([
    [...range(0, 8), ...range(16, 20)],
    [0, ...range(8, 20)],
  ]);
});

it("keeps everything it can, at least both ends", async () => {
  const policy = heatKV({ profile, sinks: 1, recent: 4 });
  const at = async (ratio: number) => (await compressOnce(prefilled(), policy, { ratio })).kept;
  expect(await at(1)).toEqual([range(0, 20), range(0, 20)]);
  expect(await at(0.3)).toEqual([
    [0, 16, 17, 18, 19],
    [0, 16, 17, 18, 19],
  ]);
});

it("moves stretches along while decoding", async () => {
  const made = prefilled();
  const policy = heatKV({ profile, sinks: 0, recent: 4 });
  await compressOnce(made, policy, { ratio: 0.75 });
  made.feed(0, 8, { flags: 0 });
  const { kept } = await compressOnce(made, policy, { tokens: 14 }, "decode");
  // The last token is at 27: the middle stretch, 16 to 23, leaves the first head.
  expect(kept[0]).toEqual([...range(0, 8), ...range(24, 28)]);
  expect(kept[1]).toEqual(range(16, 28));
});
