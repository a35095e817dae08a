import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { root } from "./workspace.ts";

const benches = readdirSync(`${root}bench`)
  .filter((file) => file.endsWith(".bench.mjs"))
  .map((file) => file.replace(".bench.mjs", ""));

/** Standard output of a bench; a run of its own would take longer than that. */
const bench = async (...args: string[]) => {
  const options = { cwd: root, timeout: 20_000 };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["bench/run.mjs", ...args],
    options,
  );
  return stdout;
};

it("every bench explains itself where it is asked to, and does nothing else", async () => {
  expect(benches.length).toBeGreaterThan(5);
  const texts = await Promise.all(benches.map((name) => bench(name, "--quick", "--help")));
  for (const [i, text] of texts.entries()) {
    expect(text, benches[i]).toMatch(/^[A-Z].{40}/);
    expect(text, benches[i]).toContain("Usage: pnpm bench");
  }
  expect(texts[benches.indexOf("quality")]).toContain("--presses");
});

it("a bench that is none is refused", async () => {
  await expect(bench("none", "--help")).rejects.toMatchObject({ code: 2 });
});
