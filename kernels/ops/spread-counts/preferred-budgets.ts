/**
 * Whole numbers in proportion to the preferences that sum to `total`, none above `limit`: cut to
 * whole numbers, what is above the limit spread evenly over those below it, then what the total
 * still lacks. What then passes the limit is cut without another round, as the reference does.
 */
export function preferredBudgets(
  preferences: readonly number[],
  total: number,
  limit: number,
): readonly number[] {
  const sum = preferences.reduce((all, preference) => all + preference, 0);
  const cut = preferences.map((preference) =>
    Math.trunc((sum > 0 ? preference / sum : 1 / preferences.length) * total),
  );
  const excess = cut.reduce((all, budget) => all + Math.max(0, budget - limit), 0);
  const budgets = cut.map((budget) => Math.min(budget, limit));
  spread(budgets, excess, limit);
  spread(budgets, total - budgets.reduce((all, budget) => all + budget, 0), limit);
  return budgets.map((budget) => Math.min(budget, limit));
}

/** Adds `amount` evenly to the budgets below the limit; a remainder goes to the first of them. */
function spread(budgets: number[], amount: number, limit: number): void {
  const open = [...budgets.keys()].filter((i) =>
    amount > 0 ? budgets[i]! < limit : budgets[i]! > 1,
  );
  if (amount === 0 || open.length === 0) return;
  const each = Math.floor(Math.abs(amount) / open.length);
  const remainder = Math.abs(amount) % open.length;
  open.forEach((i, index) => {
    const step = each + (index < remainder ? 1 : 0);
    budgets[i] = budgets[i]! + Math.sign(amount) * step;
  });
}
