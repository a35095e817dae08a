import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { expect, it } from "vitest";

it("bundles for a browser without a Node built-in", async () => {
  const { outputFiles, warnings } = await build({
    entryPoints: [fileURLToPath(new URL("index.ts", import.meta.url))],
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    conditions: ["@kvcache/source"],
    // Keeps names of imports readable for the check below.
    minifySyntax: true,
    logLevel: "silent",
  });
  const text = outputFiles[0]!.text;
  expect(warnings).toEqual([]);
  expect(text).toContain("createWebGpuBackend");
  expect(text).not.toMatch(/["']node:|require\(["']/);
  expect(text.length).toBeLessThan(400_000);
});
