import { type HeadProfile, headProfile, KvCacheError } from "@kvcache/core";

/**
 * Reads head scores as HeadKV publishes them: a JSON object of "layer-head" (query heads) to the
 * scores of all its samples, whose mean counts. Throws `invalid-file` when a head is missing or has
 * no number.
 */
export function convertHeadScores(
  text: string,
  given: Pick<HeadProfile, "model" | "shape">,
): HeadProfile {
  const { numLayers, numQueryHeads } = given.shape;
  const scores = parsed(text);
  const values = Array.from({ length: numLayers * numQueryHeads }, (_, index) => {
    const name = `${Math.floor(index / numQueryHeads)}-${index % numQueryHeads}`;
    const own = [scores[name]].flat();
    const mean = own.reduce<number>((sum, score) => sum + Number(score), 0) / own.length;
    if (own[0] === undefined || !Number.isFinite(mean))
      throw new KvCacheError("invalid-file", `Head ${name} has no score in this file.`, {
        value: scores[name],
        remedy: "Give the file that was published for this model, and its shape.",
      });
    return mean;
  });
  return headProfile({
    ...given,
    kind: "head-kv",
    settings: {},
    arrays: { headScores: { shape: [numLayers, numQueryHeads], values } },
  });
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(text));
  } catch (cause) {
    throw new KvCacheError("invalid-file", "The head scores are not JSON.", { cause });
  }
}
