import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { folderFiles } from "./folder-files.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "folder-files-"));
  writeFileSync(join(folder, "plain"), "0123456789");
  mkdirSync(join(folder, "sub"));
  symlinkSync("plain", join(folder, "link"));
  symlinkSync("circle", join(folder, "circle"));
  symlinkSync("/dev/zero", join(folder, "endless"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("folderFiles", () => {
  it("lists, measures and reads files, through links too", async () => {
    const files = folderFiles(folder);
    expect(await files.list()).toContain("plain");
    expect(await files.size("link")).toBe(10);
    expect(await files.size("none")).toBeUndefined();
    expect(text(await files.read("plain"))).toBe("0123456789");
    expect(text(await files.readRange("link", 2, 5))).toBe("234");
    expect(files.readRangeSync?.("plain", 4, 4)).toHaveLength(0);
  });

  it.each([
    ["circle", "lead in a circle"],
    ["sub", "not a regular file"],
    ["endless", "not a regular file"],
  ])("refuses %s before reading it", async (file, message) => {
    await expect(folderFiles(folder).size(file)).rejects.toThrow(message);
    await expect(folderFiles(folder).read(file)).rejects.toThrow(file);
  });

  it("refuses ranges beyond the end, missing files and missing folders", async () => {
    const files = folderFiles(folder);
    await expect(files.readRange("plain", 5, 11)).rejects.toThrow("plain ends at byte 10");
    await expect(files.read("none")).rejects.toThrow("none is missing");
    expect(() => folderFiles(join(folder, "nowhere"))).toThrow(
      expect.objectContaining({ code: "not-found" }),
    );
    expect(() => folderFiles(join(folder, "plain"))).toThrow("is not a folder");
  });
});
