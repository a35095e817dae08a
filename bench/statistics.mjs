/** Middle value of a list of numbers. */
export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** "12.3 (11.9 … 14.0)": median with its spread. */
export const spread = (values, digits = 1) =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} … ${Math.max(...values).toFixed(digits)})`;

/** Value below which a fraction of the numbers lies. */
export const quantile = (values, fraction) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))] ?? Number.NaN;
};

/** Coefficients c that make rows × c nearest to `values`: normal equations, Gaussian elimination. */
export function leastSquares(rows, values) {
  const n = rows[0].length;
  const system = Array.from({ length: n }, (_, i) => [
    ...Array.from({ length: n }, (_, j) => rows.reduce((sum, row) => sum + row[i] * row[j], 0)),
    rows.reduce((sum, row, r) => sum + row[i] * values[r], 0),
  ]);
  for (let i = 0; i < n; i++) {
    const pivot = system.slice(i).reduce((p, row) => (Math.abs(row[i]) > Math.abs(p[i]) ? row : p));
    system.splice(system.indexOf(pivot), 1);
    system.splice(i, 0, pivot);
    for (let r = 0; r < n; r++) {
      if (r === i || pivot[i] === 0) continue;
      const share = system[r][i] / pivot[i];
      for (let c = i; c <= n; c++) system[r][c] -= share * pivot[c];
    }
  }
  return system.map((row, i) => (row[i] === 0 ? 0 : row[n] / row[i]));
}
