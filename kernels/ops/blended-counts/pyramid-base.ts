/**
 * Tokens per row of one layer when the budget falls evenly from the first layer to the last: from
 * 2 × base − ⌊base / beta⌋ to about ⌊base / beta⌋, at most `candidates` in the first. The whole-number
 * step makes the sum over layers a little more than numLayers × base.
 */
export function pyramidBase(
  base: number,
  candidates: number,
  layer: number,
  numLayers: number,
  beta: number,
): number {
  let least = Math.floor(base / beta);
  let most = 2 * base - least;
  if (most >= candidates) {
    most = candidates;
    least = 2 * base - most;
  }
  const step = numLayers > 1 ? Math.floor((most - least) / (numLayers - 1)) : 0;
  return most - layer * step;
}
