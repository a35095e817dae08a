import { describe, expect, test } from "vitest";
import { nativeTensor } from "./native-addon.ts";
import { nativeCache } from "./native-cache.ts";
import { addonForTests } from "./native-test.ts";
import { encodeModel } from "./onnx-model.ts";
import { findOrtLibrary } from "./ort-library.ts";
import { testCache } from "./test-decoder.ts";

const addon = addonForTests("the addon");

describe.runIf(addon)("native addon", () => {
  const native = addon!;
  const doubling = encodeModel({
    nodes: [{ op: "Add", inputs: ["a", "a"], outputs: ["y"] }],
    inputs: [{ name: "a", type: "f32", dims: ["n", 2] }],
    outputs: [{ name: "y", type: "f32", dims: ["n", 2] }],
    initializers: [],
  }).bytes;
  const options = { threads: 1, spinning: false, customOps: true, external: [] };
  const floats = (data: Float32Array, ...dims: number[]) => nativeTensor(data, "f32", dims);

  test("runs on shared memory, at once and asynchronously", async () => {
    const session = await native.createSession(doubling, options);
    const a = new Float32Array(new SharedArrayBuffer(16));
    a.set([1, 2, 3, 4]);
    const y = new Float32Array(new SharedArrayBuffer(24), 8, 4);
    native.run(session, [floats(a, 2, 2)], [floats(y, 2, 2)]);
    expect(Array.from(y)).toEqual([2, 4, 6, 8]);
    await native.runAsync(session, [floats(y, 2, 2)], [floats(a, 2, 2)]);
    expect(Array.from(a)).toEqual([4, 8, 12, 16]);
  });

  test("refuses arrays that do not fit, naming them", async () => {
    const session = await native.createSession(doubling, options);
    const good = floats(new Float32Array(4), 2, 2);
    const short = floats(new Float32Array(3), 2, 2);
    expect(() => native.run(session, [short], [good])).toThrow(
      "input a of shape [2, 2] needs 16 bytes, its array has 12",
    );
    expect(() => native.run(session, [good], [short])).toThrow("output y of shape");
    expect(() => native.runAsync(session, [good], [])).toThrow("has 1 outputs, got 0");
    for (const dims of [[-2, 2], [2 ** 40, 2 ** 40], [1.5]])
      expect(() => native.run(session, [floats(new Float32Array(4), ...dims)], [good])).toThrow();
    const wrongShape = floats(new Float32Array(6), 3, 2);
    await expect(native.runAsync(session, [good], [wrongShape])).rejects.toThrow(/shape/i);
  });

  test("refuses what is no session, and released ones", async () => {
    const session = await native.createSession(doubling, options);
    const tensor = floats(new Float32Array(4), 2, 2);
    const pending = native.runAsync(session, [tensor], [tensor]);
    native.releaseSession(session);
    await pending;
    expect(() => native.run(session, [tensor], [tensor])).toThrow("the session was released");
    expect(() => native.run({} as typeof session, [], [])).toThrow("expected a session");
  });

  test("a broken model is an error", async () => {
    await expect(native.createSession(new Uint8Array(10), options)).rejects.toThrow();
  });

  test("there is one onnxruntime per process", () => {
    expect(native.init(findOrtLibrary()).version).toMatch(/^1\.\d+\.\d+/);
    expect(() => native.init("/nowhere/libonnxruntime.so")).toThrow(/open already/);
  });

  test("caches must be as long as they say, and are released once", () => {
    const cache = nativeCache(testCache().host!);
    const handle = native.registerCache(cache);
    expect(typeof handle).toBe("bigint");
    native.releaseCache(handle);
    expect(() => native.releaseCache(handle)).toThrow("unknown cache handle");
    const cut = cache.lengths.subarray(1);
    expect(() => native.registerCache({ ...cache, lengths: cut })).toThrow(/lengths needs/);
    const arenas = [{ ...cache.arenas[0]!, numBlocks: cache.arenas[0]!.numBlocks + 1 }];
    expect(() => native.registerCache({ ...cache, arenas })).toThrow(/storage needs/);
  });
});
