import { signalsOf } from "@kvcache/core";
import { createPolicy, policyNames } from "@kvcache/policies";
import type { Command } from "commander";
import pc from "picocolors";
import { guarded } from "../fail.ts";

async function policies(options: { json?: boolean }): Promise<void> {
  const all = policyNames.map((name) => createPolicy(name));
  if (options.json) {
    const rows = all.map((policy) => ({
      name: policy.name,
      paper: policy.paper,
      queryAware: policy.queryAware,
      takesTarget: policy.budget.withoutTarget === undefined,
      needs: signalsOf(policy).map(({ kind }) => kind),
      trigger: policy.trigger,
      protect: policy.protect,
      options: policy.options,
    }));
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  for (const policy of all) {
    const options = Object.entries(policy.options).map(
      ([key, value]) => `${key}=${JSON.stringify(value)}`,
    );
    process.stdout.write(
      `${pc.bold(policy.name.padEnd(16))} ${policy.paper.padEnd(20)} ${policy.queryAware ? "query-aware" : "any query"}\n` +
        `${" ".repeat(17)}${pc.dim(options.join(" ") || "no options")}\n`,
    );
  }
}

export function registerPolicies(program: Command): void {
  program
    .command("policies")
    .description("list the eviction policies with their options and defaults")
    .option("--json", "machine-readable output")
    .action(guarded(policies));
}
