// What scripts/new-package.mjs writes: the four files of a method package. What is to be filled in is
// listed in `placeholders`; test/structure.test.ts refuses packages that still have one of them.

/** Texts below that nobody may leave as they are. */
export const placeholders = [
  "keep …",
  "… (one sentence: ",
  "idea in one line",
  "rule in one line",
  "How, in at most two lines",
  "Authors, year, arXiv",
  "| `option` | default | meaning |",
];

const manifest = (name, description, dependencies, more = {}) =>
  `${JSON.stringify(
    {
      name: `@kvcache/${name}`,
      version: "0.1.0",
      description,
      ...more,
      license: "Apache-2.0",
      type: "module",
      sideEffects: false,
      files: ["dist"],
      exports: {
        ".": {
          "@kvcache/source": "./src/index.ts",
          types: "./dist/index.d.ts",
          default: "./dist/index.js",
        },
      },
      publishConfig: {
        access: "public",
        exports: { ".": { types: "./dist/index.d.ts", default: "./dist/index.js" } },
      },
      scripts: { build: "tsup --config ../../../tsup.config.ts" },
      dependencies: Object.fromEntries(dependencies.map((name) => [name, "workspace:^"])),
      peerDependencies: { "@kvcache/core": "workspace:^" },
      devDependencies: { "@kvcache/core": "workspace:^", "@kvcache/testing": "workspace:^" },
    },
    null,
    2,
  )}\n`;

const readme = (name, factory, what, use) => `# @kvcache/${name}

${what}

    npm i @kvcache/${name} @kvcache/core

\`\`\`ts
${use(factory)}
\`\`\`

| option   | default | meaning |
| -------- | ------- | ------- |
| \`option\` | default | meaning |
`;

/** The score is missing: its test is red until somebody writes it. */
export const policyFiles = (name, factory) => ({
  "package.json": manifest(
    `policy-${name}`,
    `Policy ${name}: keep …`,
    ["@kvcache/budget-uniform", "@kvcache/scorers", "@kvcache/selectors"],
    // A score of keys and values; scripts/method-sections.mjs has the others.
    { kvcache: { section: "keys" } },
  ),
  "README.md": readme(
    `policy-${name}`,
    factory,
    "Keep … (one sentence: the idea, and the paper).",
    (make) => `import { ${make} } from "@kvcache/policy-${name}";

const plan = { eviction: { policy: ${make}(), target: { ratio: 0.25 } } };`,
  ),
  "src/index.ts": `import { uniform } from "@kvcache/budget-uniform";
import { definePolicy, KvCacheError } from "@kvcache/core";
import { scorerFrom } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

/**
 * ${name} — idea in one line.
 * How, in at most two lines.
 * Authors, year, arXiv. Differs from the paper: none.
 */
export const ${factory} = () =>
  definePolicy({
    name: "${name}",
    paper: "unpublished",
    scorer: scorerFrom("${name}", [], () => {
      throw new KvCacheError("unsupported", "The score is not written yet.", {
        remedy: "Return one number per cached token, higher = keep.",
      });
    }),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 4, recent: 16 },
    queryAware: false,
    options: {},
  });
`,
  "src/index.test.ts": `import { testPolicy } from "@kvcache/testing";
import { ${factory} } from "./index.ts";

testPolicy("${name}", () => ${factory}());
`,
});

/** An even split to start from: green from the first minute, to be changed under test. */
export const budgetFiles = (name, factory) => ({
  "package.json": manifest(`budget-${name}`, `Budget rule ${name}: keep …`, ["@kvcache/kernels"]),
  "README.md": readme(
    `budget-${name}`,
    factory,
    "How many tokens each row keeps: … (one sentence: the rule, and the paper).",
    (make) => `import { ${make} } from "@kvcache/budget-${name}";

const budget = ${make}();`,
  ),
  "src/index.ts": `import { type BudgetAllocator, sum } from "@kvcache/core";
import { evenShare, uniformCounts } from "@kvcache/kernels";

/**
 * ${name} — rule in one line.
 * How, in at most two lines.
 * Authors, year, arXiv. Differs from the paper: none.
 */
export const ${factory} = (): BudgetAllocator =>
  Object.freeze<BudgetAllocator>({
    name: "${name}",
    needs: [],
    resolve: (request) => sum(evenShare(request, true)),
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts }),
  });
`,
  "src/index.test.ts": `import { testBudget } from "@kvcache/testing";
import { ${factory} } from "./index.ts";

testBudget("${name}", () => ${factory}());
`,
});
