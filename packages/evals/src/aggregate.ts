import type { EvalRecord } from "./record.ts";

/** Means of one plan: over tasks, of the means over each task's samples. */
export interface EvalSummary {
  readonly policy: string;
  readonly budget: string;
  readonly question: EvalRecord["question"];
  readonly samples: number;
  /** 0 … 100. */
  readonly score: number;
  readonly nll: number;
  /** Kept entries of those cached, averaged over samples. */
  readonly keptFraction: number;
  /** 0 … 100 by task. */
  readonly byTask: Readonly<Record<string, number>>;
}

const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Values by key, in the order of their first occurrence. */
function groupBy<T>(values: readonly T[], keyOf: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const own = groups.get(keyOf(value));
    if (own) own.push(value);
    else groups.set(keyOf(value), [value]);
  }
  return groups;
}

/** One summary for each (policy, budget, question), in the order of their first records. */
export function summarise(records: readonly EvalRecord[]): EvalSummary[] {
  const groups = groupBy(records, ({ policy, budget, question }) =>
    JSON.stringify([policy, budget, question]),
  );
  return [...groups.values()].map((own) => {
    const { policy, budget, question } = own[0]!;
    const tasks = [...groupBy(own, ({ task }) => task)];
    return {
      policy,
      budget,
      question,
      samples: own.length,
      score: 100 * mean(tasks.map(([, rows]) => mean(rows.map(({ score }) => score)))),
      nll: mean(tasks.map(([, rows]) => mean(rows.map(({ nll }) => nll)))),
      keptFraction: mean(own.map(({ keptFraction }) => keptFraction)),
      byTask: Object.fromEntries(
        tasks.map(([task, rows]) => [task, 100 * mean(rows.map(({ score }) => score))]),
      ),
    };
  });
}
