/** How much attention heads and layers change what enters them: sums over tokens, to be merged. */
export interface ImportanceSums {
  readonly numLayers: number;
  readonly numQueryHeads: number;
  /** Cosines between a head's input and output: sum, sum of squares, number; [numLayers × numQueryHeads]. */
  readonly heads: CosineSums;
  /** Cosines between the residual stream before and after attention; [numLayers]. */
  readonly layers: CosineSums;
}

export interface CosineSums {
  readonly sum: readonly number[];
  readonly squares: readonly number[];
  readonly count: readonly number[];
}

/** Sums of two runs, over other prompts or other parts of them. Order does not matter. */
export function mergeImportance(a: ImportanceSums, b: ImportanceSums): ImportanceSums {
  const added = (x: readonly number[], y: readonly number[]) => x.map((value, i) => value + y[i]!);
  const merged = (x: CosineSums, y: CosineSums): CosineSums => ({
    sum: added(x.sum, y.sum),
    squares: added(x.squares, y.squares),
    count: added(x.count, y.count),
  });
  return { ...a, heads: merged(a.heads, b.heads), layers: merged(a.layers, b.layers) };
}

export const noImportance = (numLayers: number, numQueryHeads: number): ImportanceSums => ({
  numLayers,
  numQueryHeads,
  heads: noCosines(numLayers * numQueryHeads),
  layers: noCosines(numLayers),
});

const noCosines = (length: number): CosineSums => {
  const zeros = () => new Array<number>(length).fill(0);
  return { sum: zeros(), squares: zeros(), count: zeros() };
};

export interface Importance {
  /** [numLayers × numKvHeads], in [0, 2]: 0 = the head passes its input on, 2 = it turns it around. */
  readonly heads: readonly number[];
  /** [numLayers]. */
  readonly layers: readonly number[];
}

/** One minus the mean cosine; of a KV head, reduced over its query heads. Never measured counts 0. */
export function importanceOf(
  { heads, layers, numLayers, numQueryHeads }: ImportanceSums,
  numKvHeads: number,
  groupReduce: "mean" | "max" | "min" = "mean",
): Importance {
  const distances = ({ sum, count }: CosineSums) =>
    sum.map((value, i) => (count[i]! > 0 ? Math.max(0, 1 - value / count[i]!) : 0));
  const perQueryHead = distances(heads);
  const group = numQueryHeads / numKvHeads;
  const reduced = Array.from({ length: numLayers * numKvHeads }, (_, row) => {
    const own = perQueryHead.slice(row * group, (row + 1) * group);
    if (groupReduce === "max") return Math.max(...own);
    if (groupReduce === "min") return Math.min(...own);
    return own.reduce((total, value) => total + value, 0) / group;
  });
  return { heads: reduced, layers: distances(layers) };
}

/**
 * What rows are worth, [numLayers × numKvHeads]: head importance to the power gamma times layer
 * importance to 1 − gamma, each divided by its mean.
 */
export function combineImportance({ heads, layers }: Importance, gamma: number): readonly number[] {
  const normal = (values: readonly number[]) => {
    const mean = values.reduce((total, value) => total + value, 0) / values.length;
    return values.map((value) => (mean > 0 ? value / mean : 1));
  };
  const byHead = normal(heads);
  const byLayer = normal(layers);
  const perLayer = heads.length / layers.length;
  return byHead.map(
    (value, row) => value ** gamma * byLayer[Math.floor(row / perLayer)]! ** (1 - gamma),
  );
}

/** Cosine of a[at …] and b[bt …], `width` numbers; undefined where one has no direction. */
export function cosine(
  a: ArrayLike<number>,
  at: number,
  b: ArrayLike<number>,
  bt: number,
  width: number,
): number | undefined {
  let dot = 0;
  let lengthA = 0;
  let lengthB = 0;
  for (let c = 0; c < width; c++) {
    const [x, y] = [a[at + c]!, b[bt + c]!];
    dot += x * y;
    lengthA += x * x;
    lengthB += y * y;
  }
  return lengthA > 0 && lengthB > 0 ? dot / Math.sqrt(lengthA * lengthB) : undefined;
}
