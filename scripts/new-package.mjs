// node scripts/new-package.mjs policy|budget <name>   makes a method package and links it
// node scripts/new-package.mjs index                  only rewrites the umbrella's list of policies
// node scripts/new-package.mjs index --check          fails when that list is out of date
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { budgetFiles, policyFiles } from "./package-templates.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folders = { policy: "packages/policies", budget: "packages/budgets" };
const umbrella = join(root, folders.policy, "all");

/** Folder name to factory name: snap-kv → snapKv. */
const camelCase = (name) => name.replace(/-([a-z0-9])/g, (_, letter) => letter.toUpperCase());

/** The export of a policy's source that its folder is named after, whatever its capitals. */
function factoryName(folder) {
  const source = readFileSync(join(root, folders.policy, folder, "src/index.ts"), "utf8");
  const names = [...source.matchAll(/export (?:const|function) (\w+)/g)].map((match) => match[1]);
  const factory = names.find((name) => name.toLowerCase() === folder.replaceAll("-", ""));
  if (!factory)
    throw new Error(`${folder}/src/index.ts exports no factory named after its folder.`);
  return factory;
}

/**
 * Text of the umbrella's sources and its package.json, from the folders beside it. The packages are
 * exported by index.ts itself: bundlers lose what an inner module exports of other packages.
 */
function umbrellaFiles() {
  const names = readdirSync(join(root, folders.policy))
    .filter(
      (name) => name !== "all" && existsSync(join(root, folders.policy, name, "package.json")),
    )
    .sort();
  const factories = new Map(names.map((name) => [name, factoryName(name)]));
  const key = (name) => (name.includes("-") ? `"${name}"` : name);
  const origin = "// Written by scripts/new-package.mjs from the folders beside this one.";
  const index = [
    origin,
    ...names.map((name) => `export * from "@kvcache/policy-${name}";`),
    'export * from "./create-policy.ts";',
    'export { policies } from "./policies.ts";',
    "",
  ].join("\n");
  const policies = [
    origin,
    ...names.map((name) => `import { ${factories.get(name)} } from "@kvcache/policy-${name}";`),
    "",
    "/** Factories by name. */",
    "export const policies = {",
    ...names.map((name) =>
      key(name) === factories.get(name) ? `  ${name},` : `  ${key(name)}: ${factories.get(name)},`,
    ),
    "};",
    "",
  ].join("\n");
  const manifest = JSON.parse(readFileSync(join(umbrella, "package.json"), "utf8"));
  manifest.dependencies = Object.fromEntries(
    names.map((name) => [`@kvcache/policy-${name}`, "workspace:^"]),
  );
  return {
    "src/index.ts": index,
    "src/policies.ts": policies,
    "package.json": `${JSON.stringify(manifest, null, 2)}\n`,
  };
}

function writeFiles(folder, files) {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

/** Names of umbrella files whose content, white space aside, is not what the folders say. */
function staleFiles() {
  const plain = (text) => text.replace(/\s+/g, "");
  return Object.entries(umbrellaFiles())
    .filter(([path, text]) => {
      const file = join(umbrella, path);
      return !existsSync(file) || plain(readFileSync(file, "utf8")) !== plain(text);
    })
    .map(([path]) => path);
}

function main([kind, name]) {
  if (kind === "index" && name === "--check") {
    const stale = staleFiles();
    return stale.length === 0
      ? undefined
      : fail(`Out of date: ${stale.join(", ")}. Run: node scripts/new-package.mjs index`);
  }
  if (kind === "index") return writeFiles(umbrella, umbrellaFiles());
  if (!(kind in folders) || !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name ?? "") || name === "all")
    return fail("usage: new-package.mjs policy|budget <kebab-case-name>");
  const folder = join(root, folders[kind], name);
  if (existsSync(folder)) return fail(`${folders[kind]}/${name} exists already.`);
  const template = kind === "policy" ? policyFiles : budgetFiles;
  writeFiles(folder, template(name, camelCase(name)));
  if (kind === "policy") writeFiles(umbrella, umbrellaFiles());
  // Nothing new comes from the registry: every dependency of the template is in the workspace.
  const install = ["install", "--prefer-offline", "--no-frozen-lockfile"];
  const { status } = spawnSync("pnpm", install, {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (status !== 0)
    return fail("The package is written; linking it failed. Run: npx -y pnpm@12.21.0 install");
  console.log(`${folders[kind]}/${name} is ready. Next: edit src/index.ts, then pnpm test ${name}`);
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}

main(process.argv.slice(2));
