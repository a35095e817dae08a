import { createReferenceBackend } from "@kvcache/backend-reference";
import type { Backend } from "@kvcache/core";
import { failed, skipped, type VectorCase, type Verdict } from "./case.ts";
import { adapterOf, methodOf } from "./methods/index.ts";
import { runBudget } from "./run-budget.ts";
import { runKeep } from "./run-keep.ts";
import { runSchedule } from "./run-schedule.ts";
import { runScores } from "./run-scores.ts";

const runners: Readonly<
  Record<string, (vector: VectorCase, backend?: Backend) => Promise<Verdict>>
> = { budget: runBudget, keep: runKeep, schedule: runSchedule, scores: runScores };

/** Runs one case; what throws while running it has failed. */
export async function runCase(vector: VectorCase, backend?: Backend): Promise<Verdict> {
  const { prepare, run: ownRuns } = adapterOf(vector.method);
  const own = ownRuns?.[vector.kind];
  const run = own
    ? (given: VectorCase, chosen = createReferenceBackend()) => own(given, chosen, methodOf(given))
    : runners[vector.kind];
  if (run === undefined) return skipped(`no runner for kind ${vector.kind}`);
  try {
    return await run(prepare ? prepare(vector) : vector, backend);
  } catch (error) {
    return failed(error instanceof Error ? error.message : String(error));
  }
}
