/**
 * Review tokens of each group of layers, falling evenly from the first to the last: from
 * 2 × tokens − ⌊tokens × groupLayers / beta⌋ to ⌊tokens × groupLayers / beta⌋; of a single group,
 * `tokens`. Not negative.
 */
export function groupBudgets(
  tokens: number,
  numGroups: number,
  groupLayers: number,
  beta: number,
): readonly number[] {
  if (numGroups === 1) return [tokens];
  const last = Math.floor((tokens * groupLayers) / beta);
  const first = 2 * tokens - last;
  const step = Math.floor((first - last) / (numGroups - 1));
  return Array.from({ length: numGroups }, (_, group) =>
    Math.max(0, group === numGroups - 1 ? last : first - group * step),
  );
}
