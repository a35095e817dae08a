/**
 * How many of the `total` largest values of all rows together fall into each row. Ties go to the
 * earlier row. Rows are arrays of numbers in any order; Σ result = min(total, Σ row lengths).
 */
export function layerTopCounts(rows: readonly Float64Array[], total: number): Uint32Array {
  const counts = new Uint32Array(rows.length);
  const size = rows.reduce((sum, row) => sum + row.length, 0);
  if (total >= size) return counts.map((_, row) => rows[row]!.length);
  if (total <= 0) return counts;
  const all = new Float64Array(size);
  let offset = 0;
  for (const row of rows) {
    all.set(row, offset);
    offset += row.length;
  }
  const threshold = all.sort()[size - total]!;
  let left = total;
  rows.forEach((row, index) => {
    for (const value of row) if (value > threshold) counts[index] = counts[index]! + 1;
    left -= counts[index]!;
  });
  for (let index = 0; index < rows.length && left > 0; index++) {
    let ties = 0;
    for (const value of rows[index]!) if (value === threshold) ties++;
    const taken = Math.min(ties, left);
    counts[index] = counts[index]! + taken;
    left -= taken;
  }
  return counts;
}
