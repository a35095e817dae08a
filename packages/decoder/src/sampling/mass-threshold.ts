/**
 * Where the largest of `weights` first add up to `mass`: they are all that exceed `weight`, and
 * `equals` of those that equal it. A quickselect by mass, linear on average where a sort is not.
 */
export function massThreshold(
  weights: Float64Array,
  mass: number,
): { weight: number; equals: number } {
  const work = weights.slice();
  let start = 0;
  let end = work.length;
  let needed = mass;
  while (start < end) {
    // Three parts: above the pivot up to `above`, equal to it up to `next`, below it from `below`.
    const pivot = work[(start + end) >> 1]!;
    let above = start;
    let below = end;
    let massAbove = 0;
    for (let next = start; next < below; ) {
      const weight = work[next]!;
      if (weight > pivot) {
        massAbove += weight;
        work[next++] = work[above]!;
        work[above++] = weight;
      } else if (weight < pivot) {
        work[next] = work[--below]!;
        work[below] = weight;
      } else next++;
    }
    const equals = below - above;
    if (massAbove >= needed) end = above;
    else if (massAbove + equals * pivot >= needed) {
      return { weight: pivot, equals: Math.ceil((needed - massAbove) / pivot) };
    } else {
      needed -= massAbove + equals * pivot;
      start = below;
    }
  }
  // Rounding can leave the sum of all a crumb short of the mass.
  return { weight: 0, equals: weights.length };
}
