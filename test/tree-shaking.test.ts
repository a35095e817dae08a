import { build } from "esbuild";
import { expect, it } from "vitest";
import { policyNames } from "../packages/policies/all/src/index.ts";
import { root } from "./workspace.ts";

/** Bundles code from sources: its text, and the files that left some of theirs in it. */
async function bundle(contents: string) {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: `${root}/packages/policies/all`, loader: "ts" },
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    conditions: ["@kvcache/source"],
    minifySyntax: true,
    logLevel: "silent",
    metafile: true,
    outfile: "bundle.js",
    absWorkingDir: root,
  });
  const [output] = Object.values(metafile.outputs);
  const files = Object.entries(output!.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  return { code: outputFiles[0]!.text, files };
}

it("drops every policy that is not used", async () => {
  const { code, files } = await bundle(`export { snapKV } from "@kvcache/policies";`);
  expect(code).toContain('name: "snap-kv"');
  for (const name of policyNames.filter((other) => other !== "snap-kv"))
    expect(code, `${name} is still in the bundle`).not.toContain(`"${name}"`);
  const kernels = files.flatMap(([file]) => /^kernels\/ops\/([^/]+)/.exec(file)?.[1] ?? []);
  expect(new Set(kernels)).toEqual(
    new Set(["window-score", "top-k", "uniform-counts", "prefix-sum"]),
  );
  const others = files.filter(([file]) => !file.startsWith("kernels/"));
  expect(others.reduce((sum, [, { bytesInOutput }]) => sum + bytesInOutput, 0)).toBeLessThan(
    10_000,
  );
});

it("keeps all of them where they are chosen by name", async () => {
  const { code } = await bundle(`export { createPolicy } from "@kvcache/policies";`);
  for (const name of policyNames) expect(code).toContain(`"${name}"`);
});
