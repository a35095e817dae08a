import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Backend, signalsOf } from "@kvcache/core";
import { openModel } from "../open-model.ts";
import { rowPositions } from "../row-positions.ts";
import { failed, passed, skipped, type VectorCase, type Verdict } from "./case.ts";
import { compareFloats, compareIntegers, first } from "./compare.ts";
import { methodOf } from "./methods/index.ts";

/** Entries of the expected kept set that float noise may put elsewhere. */
const maxMissing = 0.005;

/** A real model: prefill, compress, go on; kept sets, next-token logits and greedy ids. */
export async function runModel(
  vector: VectorCase,
  path: string,
  json: Readonly<Record<string, unknown>>,
  backend: Backend,
): Promise<Verdict> {
  const method = methodOf(vector);
  if ("skip" in method) return skipped(method.skip);
  const folder = join(dirname(path), String(json.model));
  if (!existsSync(folder)) return failed(`there is no model folder ${folder}`);
  const inputIds = Int32Array.from(vector.tensors.get("inputIds")!.data);
  const compressAt = json.compressAt as number;
  const { runner, close } = await openModel(
    folder,
    backend,
    inputIds.length + 64,
    signalsOf(method.policy),
  );
  try {
    // The case compresses once, whatever the policy would do while decoding.
    const policy = { ...method.policy, trigger: { prefill: true, pressure: false } };
    const sequence = runner.open({ eviction: { policy, target: method.target } });
    await sequence.prefill(inputIds.subarray(0, compressAt));
    await sequence.compress();
    const kept = await rowPositions(runner.runtime.cache, sequence.slot);
    const vocabSize = runner.runtime.model.graph.vocabSize;
    const logits = await sequence.feed(inputIds.subarray(compressAt));
    const greedy = vector.tensors.get("greedyIds");
    return first(
      compareKept(vector, kept),
      vector.expect.includes("logits")
        ? compareFloats(vector, "logits", logits.subarray(logits.length - vocabSize))
        : passed,
      greedy
        ? compareIntegers(vector, "greedyIds", await sequence.greedy(greedy.data.length))
        : passed,
    );
  } finally {
    await close();
  }
}

/** Counts exact; at most 0.5 % of the expected entries may be missing. */
function compareKept(vector: VectorCase, kept: readonly Int32Array[]): Verdict {
  const indptr = vector.tensors.get("indptr")!.data;
  const expected = vector.tensors.get("indices")!.data;
  let missing = 0;
  for (let row = 0; row + 1 < indptr.length; row++) {
    const wanted = expected.subarray(indptr[row]!, indptr[row + 1]!);
    const ours = new Set(kept[row]!);
    if (ours.size !== wanted.length)
      return failed(`row ${row}: expected ${wanted.length} kept, got ${ours.size}`);
    for (const position of wanted) if (!ours.has(position)) missing++;
  }
  const share = missing / expected.length;
  return share <= maxMissing
    ? passed
    : failed(`${(share * 100).toFixed(2)} % of the expected kept entries are missing`);
}
