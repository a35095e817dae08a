export type CaseStatus = "passed" | "failed" | "skipped";

export interface CaseResult {
  readonly id: string;
  /** Method name, or the mode of the run. */
  readonly group: string;
  readonly status: CaseStatus;
  readonly reason?: string;
}

/** A table by group, then the line that scripts read: `N passed, N failed, N skipped`. */
export function summary(results: readonly CaseResult[]): string {
  const groups = new Map<string, Record<CaseStatus, number>>();
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { group, status } of results) {
    const row = groups.get(group) ?? { passed: 0, failed: 0, skipped: 0 };
    row[status]++;
    total[status]++;
    groups.set(group, row);
  }
  const width = Math.max(6, ...[...groups.keys()].map((name) => name.length));
  const cells = (name: string, a: unknown, b: unknown, c: unknown) =>
    `${name.padEnd(width)} ${String(a).padStart(7)} ${String(b).padStart(7)} ${String(c).padStart(8)}`;
  const rows = [...groups].sort(([a], [b]) => a.localeCompare(b));
  return [
    cells("method", "passed", "failed", "skipped"),
    ...rows.map(([name, row]) => cells(name, row.passed, row.failed, row.skipped)),
    "",
    `${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`,
  ].join("\n");
}
