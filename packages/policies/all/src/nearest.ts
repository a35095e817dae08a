/** The `count` names closest to a misspelt one. */
export function nearest(name: string, names: readonly string[], count: number): readonly string[] {
  const distance = (other: string) => editDistance(plain(name), plain(other));
  return [...names].sort((a, b) => distance(a) - distance(b)).slice(0, count);
}

const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");

/** Insertions, deletions and replacements that turn one word into the other. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++)
      row[j] = Math.min(
        previous[j]! + 1,
        row[j - 1]! + 1,
        previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
    previous = row;
  }
  return previous[b.length]!;
}
