// node scripts/methods-page.mjs           writes docs/methods.md from the packages
// node scripts/methods-page.mjs --check   fails when that page is out of date; needs what is built
// A package says its place as "kvcache": { "section": … } in package.json; the rest (paper, needs,
// query-aware) is what the policy itself says.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundlePackages } from "./bundle.mjs";
import { sections } from "./method-sections.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const path = join(root, "docs/methods.md");
const check = process.argv.includes("--check");
if (!check) await bundlePackages();
const { createPolicy, policyNames } = await import("../packages/policies/all/dist/index.js");

const planned = [
  ["Quantization", "int8, int4 and KIVI codecs of blocks"],
  ["Channels and low rank", "ThinK, LoRC"],
  ["Attention structure", "KVSharer, CLLA: layers that share blocks"],
];

const needsOf = (policy) => {
  const names = {
    windowQueries: (s) => `last ${s.window} queries`,
    attentionSums: () => "attention sums",
    chunkQueries: () => "queries of each chunk",
    queryStatistics: () => "queries before RoPE",
    hidden: () => "hidden states",
    headOutputs: () => "head outputs",
    replay: () => "an extra pass",
    blockBounds: () => "block bounds",
    outputWeight: () => "W_O",
  };
  const signals = [
    ...policy.scorer.needs,
    ...policy.budget.needs,
    ...(policy.selector.needs ?? []),
    ...(policy.readSelector?.needs ?? []),
  ];
  return [...new Set(signals.map((signal) => names[signal.kind](signal)))].join(", ") || "nothing";
};

const linkOf = (paper) =>
  paper.startsWith("arXiv:")
    ? `[${paper}](https://arxiv.org/abs/${paper.slice(6)})`
    : paper.startsWith("http")
      ? `[source](${paper})`
      : paper.startsWith("doi:")
        ? `[${paper}](https://doi.org/${paper.slice(4)})`
        : paper;

function rowOf(name) {
  const folder = join(root, "packages/policies", name);
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const section = manifest.kvcache?.section;
  if (!(section in sections))
    throw new Error(
      `packages/policies/${name}/package.json: kvcache.section must be one of ${Object.keys(sections).join(", ")}.`,
    );
  let policy;
  try {
    policy = createPolicy(name);
  } catch (error) {
    throw new Error(`${name} cannot be made without options: ${error.message}`);
  }
  const when = [
    policy.trigger.prefill && "prompt",
    policy.trigger.interval !== undefined && "decoding",
    policy.trigger.pressure && "pressure",
  ].filter(Boolean);
  const idea = manifest.description.replace(/^Policy /, "").replace(/\|/g, "/");
  return {
    section,
    cells: [
      `[${name}](../packages/policies/${name})`,
      idea,
      linkOf(policy.paper),
      policy.queryAware ? "yes" : "no",
      needsOf(policy),
      policy.budget.withoutTarget ? "own" : "target",
      when.join(", ") || "–",
    ],
  };
}

const rows = policyNames.map(rowOf);

/** A table whose columns are as wide as their widest cell. */
function table(...lines) {
  const widths = lines[0].map((_, i) => Math.max(...lines.map((cells) => [...cells[i]].length)));
  const line = (cells, filler) =>
    `| ${cells.map((cell, i) => cell + filler.repeat(widths[i] - [...cell].length)).join(" | ")} |`;
  const [head, ...rest] = lines.map((cells) => line(cells, " "));
  return [
    head,
    line(
      widths.map(() => ""),
      "-",
    ),
    ...rest,
  ].join("\n");
}

const header = [
  "package `@kvcache/policy-…`",
  "idea",
  "paper",
  "query-aware",
  "needs",
  "budget",
  "when",
];
const sectionText = (section) =>
  [
    `## ${sections[section]}`,
    "",
    table(header, ...rows.filter((row) => row.section === section).map(({ cells }) => cells)),
    "",
  ].join("\n");
const text = `<!-- Written by scripts/methods-page.mjs from the packages. -->

# Methods

Every method is a package of its own, \`@kvcache/policy-<name>\`, and all of them are in
\`@kvcache/policies\`. The sections follow the taxonomy of the survey "Key, Value, Compress". All of them
evict physically: what a policy does not keep goes back to the block pool in the same step.
_Query-aware_ methods keep other tokens when the question is part of the prompt. Where _budget_ says
_own_, the method decides itself how much stays, and plans take no target but \`{ ratio: 1 }\`.

${Object.keys(sections).map(sectionText).join("\n")}
## Planned

${table(["class", "methods"], ...planned)}
`;

if (!check) writeFileSync(path, text);
else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
  console.error("docs/methods.md is out of date. Run: node scripts/methods-page.mjs");
  process.exit(1);
}
