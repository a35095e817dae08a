import { expect, it } from "vitest";
import {
  checkProfile,
  headProfile,
  parseHeadProfile,
  profileArray,
  profileIdentity,
} from "./head-profile.ts";

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2 };
const profile = headProfile({
  kind: "duo-attention",
  model: { name: "tiny", fingerprint: "abc" },
  shape,
  settings: { samples: 3 },
  arrays: { headScores: { shape: [2, 2], values: [0.1, 0.2, 0.3, 0.4] } },
});
const here = { ...shape, headDim: 8 };

it("comes back from its file", () => {
  expect(parseHeadProfile(JSON.stringify(profile))).toEqual(profile);
  const scores = profileArray(profile, "duo-attention", "headScores", ["numLayers", "numKvHeads"]);
  expect([...scores]).toEqual([0.1, 0.2, 0.3, 0.4]);
});

it("is refused by the name of what is wrong with it", () => {
  const broken = (change: object) => () => parseHeadProfile({ ...profile, ...change }, "p.json");
  expect(() => parseHeadProfile("{", "p.json")).toThrow("p.json: it is not JSON");
  expect(() => parseHeadProfile(3)).toThrow("it is not a JSON object");
  expect(broken({ format: "other" })).toThrow('p.json: format is "other"');
  expect(broken({ version: 2 })).toThrow("version 2 is not 1");
  expect(broken({ kind: 1 })).toThrow("kind must be a text");
  expect(broken({ model: {} })).toThrow("model.name must be a text");
  expect(broken({ model: { name: "x", fingerprint: 3 } })).toThrow("model.fingerprint");
  expect(broken({ shape: { ...shape, numLayers: 0 } })).toThrow("shape.numLayers");
  expect(broken({ settings: null })).toThrow("settings");
  expect(broken({ arrays: { a: { shape: [3], values: [1] } } })).toThrow("array a");
  expect(broken({ arrays: { a: { shape: [1], values: [null] } } })).toThrow("no finite number");
});

it("gives arrays of the kind and dimensions that a method asks for, and no others", () => {
  expect(() => profileArray(profile, "head-kv", "headScores", [])).toThrow(
    "of kind duo-attention is not for head-kv",
  );
  expect(() => profileArray(profile, "duo-attention", "mass", [2])).toThrow("shape [none]");
  expect(() =>
    profileArray(profile, "duo-attention", "headScores", ["numLayers", "numQueryHeads"]),
  ).toThrow("shape [2,2] where [2,4] belongs");
});

it("belongs to one model", () => {
  const check = (fingerprint?: string, other = {}) =>
    checkProfile("duo-attention", profile, { ...here, ...other }, fingerprint);
  expect(() => check()).not.toThrow();
  expect(() => check("abc")).not.toThrow();
  expect(() => check("abd")).toThrow(/another model: tiny, abc; this one is abd/);
  expect(() => check("abc", { numLayers: 3 })).toThrow(/numLayers is 2, here 3/);
  expect(() => checkProfile("duo-attention", null, here)).toThrow(/kvcache profile duo-attention/);
});

it("is named in options by a digest of its numbers", () => {
  expect(profileIdentity(null)).toBeNull();
  const identity = profileIdentity(profile)!;
  expect(identity).toMatchObject({ kind: "duo-attention", model: "tiny" });
  const arrays = { headScores: { shape: [2, 2], values: [0.1, 0.2, 0.3, 0.5] } };
  expect(profileIdentity({ ...profile, arrays })!.digest).not.toBe(identity.digest);
});
