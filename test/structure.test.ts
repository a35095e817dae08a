import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { root, workspacePackages } from "./workspace.ts";

const scripts = new URL("../scripts/", import.meta.url);
const { placeholders, policyFiles, budgetFiles } = await import(`${scripts}package-templates.mjs`);
const { sections } = await import(`${scripts}method-sections.mjs`);

/** Parts of a template that stand in a text as they were written. */
const leftovers = (text: string): readonly string[] =>
  placeholders.filter((part: string) => text.includes(part));

const methods = workspacePackages.flatMap(({ folder, manifest }) => {
  const match = /^packages\/(policies|budgets)\/(?!all$)(.*)$/.exec(folder);
  if (!match) return [];
  const prefix = match[1] === "policies" ? "policy" : "budget";
  return [{ folder, manifest, prefix, name: match[2]! }];
});

describe.each(methods)("$folder", ({ folder, manifest, prefix, name }) => {
  const read = (path: string) => readFileSync(`${root}/${folder}/${path}`, "utf8");
  const source = read("src/index.ts");

  it("has four files and no configuration of its own", () => {
    const ignored = new Set(["node_modules", "dist", ".turbo"]);
    const outside = readdirSync(`${root}/${folder}`).filter((entry) => !ignored.has(entry));
    expect(outside.sort()).toEqual(["README.md", "package.json", "src"]);
    const inside = readdirSync(`${root}/${folder}/src`);
    expect(inside).toContain("index.ts");
    expect(inside).toContain("index.test.ts");
    for (const file of inside) expect(file).toMatch(/\.ts$|^__fixtures__$/);
    const split = inside.some(
      (file) => !["index.ts", "index.test.ts", "__fixtures__"].includes(file),
    );
    if (split) expect(source, "a split package re-exports only").not.toMatch(/^(const|function)/m);
  });

  it("is named after its folder", () => {
    expect(manifest.name).toBe(`@kvcache/${prefix}-${name}`);
    expect(source).toContain(`name: "${name}"`);
    const factories = [...source.matchAll(/export (?:const|function) (\w+)/g)].map(
      ([, own]) => own,
    );
    expect(factories.map((own) => own!.toLowerCase())).toContain(name.replaceAll("-", ""));
  });

  it("says what it does, whose idea it is and how it differs", () => {
    // The block above the factory: name, dash, idea; how; where from; differences.
    const block = source
      .match(/\/\*\*[\s\S]*?\*\//g)!
      .map((comment) => comment.replace(/\s*\n \* ?/g, " "))
      .find((comment) => comment.includes("Differs from the paper:"));
    expect(block, "no doc block with the line Differs from the paper:").toBeDefined();
    expect(block).toMatch(/^\/\*\* [^—]+ — [^.]+\. .+ Differs from the paper: .+/);
    if (prefix === "policy") expect(source).toMatch(/paper: "[^"]+"/);
  });

  it("has a short README with an installation line and code", () => {
    const readme = read("README.md");
    expect(readme.split("\n").length).toBeLessThanOrEqual(41);
    expect(readme.startsWith(`# @kvcache/${prefix}-${name}\n`)).toBe(true);
    expect(readme).toContain(`npm i @kvcache/${prefix}-${name} @kvcache/core`);
    expect(readme).toMatch(/```ts\n[\s\S]+from "@kvcache\/[\s\S]+```/);
  });

  it("has nothing left to fill in", () => {
    const left = ["README.md", "package.json", "src/index.ts"].map((path) => leftovers(read(path)));
    expect(left, "replace what the template wrote").toEqual([[], [], []]);
    // The table of docs/methods.md that it stands in.
    if (prefix === "policy") expect(Object.keys(sections)).toContain(manifest.kvcache?.section);
  });

  it("calls its conformance suite first", () => {
    const suite = prefix === "policy" ? "testPolicy" : "testBudget";
    expect(read("src/index.test.ts")).toMatch(new RegExp(`^${suite}\\(`, "m"));
    expect(manifest.devDependencies).toHaveProperty(["@kvcache/testing"]);
  });
});

it("finds what templates leave to fill in", () => {
  for (const files of [policyFiles("my-idea", "myIdea"), budgetFiles("my-rule", "myRule")])
    for (const path of ["README.md", "package.json", "src/index.ts"])
      expect(leftovers(files[path]), path).not.toEqual([]);
  const written = JSON.stringify([policyFiles("a", "a"), budgetFiles("b", "b")]);
  for (const part of placeholders) expect(written, part).toContain(part);
});

it("lists every policy in the umbrella", () => {
  const script = ["scripts/new-package.mjs", "index", "--check"];
  const { status, stderr } = spawnSync(process.execPath, script, { cwd: root, encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});
