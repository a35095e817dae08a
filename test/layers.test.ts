import { expect, it } from "vitest";
import { workspacePackages } from "./workspace.ts";

/** What a package may depend on: names of packages, or of kinds of packages. */
const layers: Readonly<Record<string, readonly string[]>> = {
  core: [],
  "model-tiny": [],
  paged: ["core"],
  kernels: ["core"],
  decoder: ["core"],
  scorers: ["core", "kernels"],
  selectors: ["core", "kernels"],
  codecs: ["core", "kernels"],
  "budget-*": ["core", "kernels"],
  "policy-*": ["core", "scorers", "selectors", "codecs", "budget-*"],
  policies: ["core", "policy-*"],
  "backend-*": ["core", "kernels"],
  // A device cache keeps its books on the host.
  "backend-webgpu": ["core", "kernels", "paged"],
  // The event that an engine runs protects tokens with a kernel (docs/decisions/0002).
  engine: ["core", "decoder", "kernels"],
  evals: ["core", "engine", "kernels"],
  testing: ["core", "kernels", "paged", "decoder", "backend-reference", "engine"],
};

const kindOf = (name: string) => name.replace(/^(budget|policy|backend)-.*/, "$1-*");
const workspaceNames = (dependencies: Record<string, string> = {}) =>
  Object.keys(dependencies)
    .filter((name) => name.startsWith("@kvcache/"))
    .map((name) => name.replace("@kvcache/", ""));

for (const { folder, manifest } of workspacePackages.filter(({ folder }) => !/^apps/.test(folder)))
  it(`${folder} depends on what lies below it only`, () => {
    const name = manifest.name.replace("@kvcache/", "");
    const allowed = layers[name] ?? layers[kindOf(name)];
    expect(allowed, `${name} has no place in the table of layers`).toBeDefined();
    for (const other of [
      ...workspaceNames(manifest.dependencies),
      ...workspaceNames(manifest.peerDependencies),
    ])
      expect(
        allowed!.includes(other) || allowed!.includes(kindOf(other)),
        `${name} must not depend on ${other}`,
      ).toBe(true);
  });

it("shares one core: a peer dependency of everything that uses it", () => {
  for (const { folder, manifest } of workspacePackages) {
    if (folder.startsWith("apps")) continue;
    expect(Object.keys(manifest.dependencies ?? {}), folder).not.toContain("@kvcache/core");
    if (manifest.devDependencies?.["@kvcache/core"])
      expect(manifest.peerDependencies, folder).toHaveProperty(["@kvcache/core"]);
  }
});

it("builds in some order: no package waits for itself, tests included", () => {
  const needs = new Map(
    workspacePackages.map(({ manifest }) => [
      manifest.name,
      [manifest.dependencies, manifest.devDependencies].flatMap(workspaceNames),
    ]),
  );
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]) => {
    if (done.has(name)) return;
    expect(path, `a circle of dependencies: ${[...path, name].join(" → ")}`).not.toContain(name);
    for (const other of needs.get(name) ?? []) visit(`@kvcache/${other}`, [...path, name]);
    done.add(name);
  };
  for (const name of needs.keys()) visit(name, []);
});
