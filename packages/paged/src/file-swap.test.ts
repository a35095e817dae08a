import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createFileSwap } from "./file-swap.ts";

const folder = mkdtempSync(join(tmpdir(), "kvcache-swap-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("files hold what was stored, up to the cap, and go when they are released", async () => {
  const swap = await createFileSwap({ folder, maxBytes: 100 });
  const first = swap.store(Uint8Array.of(1, 2, 3))!;
  const second = swap.store(new Uint8Array(90).fill(9))!;
  expect(swap.bytes).toBe(93);
  expect(swap.store(new Uint8Array(8))).toBeUndefined();
  expect([[...first.read()], second.read().length]).toEqual([[1, 2, 3], 90]);
  first.release();
  first.release();
  expect([swap.bytes, readdirSync(folder).length]).toEqual([90, 1]);
  expect(() => first.read()).toThrow("was released");
  expect(swap.store(new Uint8Array(8))).toBeDefined();
});

test("files that an earlier process left are removed, others stay", async () => {
  writeFileSync(join(folder, "sequence-77.swap"), "old");
  writeFileSync(join(folder, "notes.txt"), "mine");
  const swap = await createFileSwap({ folder, maxBytes: 100 });
  expect([swap.bytes, readdirSync(folder)]).toEqual([0, ["notes.txt"]]);
});

test("without a folder to write to there is no room", async () => {
  const gone = join(folder, "gone");
  const swap = await createFileSwap({ folder: gone, maxBytes: 100 });
  rmSync(gone, { recursive: true });
  expect(swap.store(Uint8Array.of(1))).toBeUndefined();
  expect(swap.bytes).toBe(0);
});
