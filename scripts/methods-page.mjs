// node scripts/methods-page.mjs           writes docs/methods.md from the built packages
// node scripts/methods-page.mjs --check   fails when that page is out of date
// A package says its place in the survey's taxonomy as "kvcache": { "section": … } in package.json;
// the rest (paper, needs, query-aware) is what the policy itself says.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createPolicy, policyNames } from "../packages/policies/all/dist/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const path = join(root, "docs/methods.md");

/** Classes of the survey "Key, Value, Compress", and what this project calls them. */
const sections = {
  observation: "Selective: attention of the last queries",
  accumulated: "Selective: attention of all queries",
  keys: "Selective: keys and values alone",
  statistics: "Selective: expected queries, sketches, calibrations",
  learned: "Selective: trained weights",
  reconstruction: "Selective: extra passes over the prompt",
  budgets: "Selective: budgets over layers and heads",
  second: "Selective: a second stage over other scores",
  combinators: "Combinators of other policies",
  reading: "Selective reading: nothing is evicted",
  none: "No compression",
};
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
    line: `| [${name}](../packages/policies/${name}) | ${idea} | ${linkOf(policy.paper)} | ${policy.queryAware ? "yes" : "no"} | ${needsOf(policy)} | ${policy.budget.withoutTarget ? "own" : "target"} | ${when.join(", ") || "–"} |`,
  };
}

const rows = policyNames.map(rowOf);
const table = (section) =>
  [
    `## ${sections[section]}`,
    "",
    "| package `@kvcache/policy-…` | idea | paper | query-aware | needs | budget | when |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...rows.filter((row) => row.section === section).map(({ line }) => line),
    "",
  ].join("\n");
const text = `<!-- Written by scripts/methods-page.mjs from the packages. -->

# Methods

Every method is a package of its own, \`@kvcache/policy-<name>\`, and all of them are in
\`@kvcache/policies\`. The sections follow the taxonomy of the survey "Key, Value, Compress". All of them
evict physically: what a policy does not keep goes back to the block pool in the same step.
_Query-aware_ methods keep other tokens when the question is part of the prompt. Where _budget_ says
_own_, the method decides itself how much stays, and plans take no target but \`{ ratio: 1 }\`.

${Object.keys(sections).map(table).join("\n")}
## Planned

| class | methods |
| --- | --- |
${planned.map(([name, methods]) => `| ${name} | ${methods} |`).join("\n")}
`;

const plain = (value) => value.replace(/[\s|-]+/g, " ");
if (process.argv.includes("--check")) {
  if (!existsSync(path) || plain(readFileSync(path, "utf8")) !== plain(text)) {
    console.error("docs/methods.md is out of date. Run: node scripts/methods-page.mjs");
    process.exit(1);
  }
} else writeFileSync(path, text);
