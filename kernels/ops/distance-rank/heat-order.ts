/**
 * Heads of all layers by how little each stretch of context matters to them: for every stretch the
 * indices layer × numHeads + head, least mass first, ties by head, then layer. `mass` is
 * [numLayers × numHeads, stretches].
 */
export function heatOrder(
  mass: ArrayLike<number>,
  numLayers: number,
  numHeads: number,
): readonly Uint32Array[] {
  const heads = numLayers * numHeads;
  const stretches = mass.length / heads;
  return Array.from({ length: stretches }, (_, stretch) => {
    const at = (index: number) => mass[index * stretches + stretch]!;
    return Uint32Array.from({ length: heads }, (_, index) => index).sort(
      (a, b) => at(a) - at(b) || (a % numHeads) - (b % numHeads) || a - b,
    );
  });
}
