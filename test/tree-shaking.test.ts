import { build } from "esbuild";
import { expect, it } from "vitest";
import { policyNames } from "../packages/policies/all/src/index.ts";
import { root } from "./workspace.ts";

/** Bundles code from sources and returns its text. */
async function bundle(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: `${root}/packages/policies/all`, loader: "ts" },
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    conditions: ["@kvcache/source"],
    minifySyntax: true,
    logLevel: "silent",
  });
  return outputFiles[0]!.text;
}

it("drops every policy that is not used", async () => {
  const code = await bundle(`export { snapKV } from "@kvcache/policies";`);
  expect(code).toContain('name: "snap-kv"');
  for (const name of policyNames.filter((other) => other !== "snap-kv"))
    expect(code, `${name} is still in the bundle`).not.toContain(`"${name}"`);
  // Kernels carry their WGSL sources as text: a third of it.
  expect(code.length).toBeLessThan(60_000);
});

it("keeps all of them where they are chosen by name", async () => {
  const code = await bundle(`export { createPolicy } from "@kvcache/policies";`);
  for (const name of policyNames) expect(code).toContain(`"${name}"`);
});
