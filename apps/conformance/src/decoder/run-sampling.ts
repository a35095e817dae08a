import { type SamplingParams, samplingProbabilities } from "@kvcache/decoder";
import { failed, passed, type Verdict } from "../vectors/case.ts";
import { first } from "../vectors/compare.ts";
import { type DecoderCase, tensor } from "./decoder-case.ts";

interface SamplingRow {
  readonly name: string;
  readonly params: SamplingParams;
  readonly promptIds: readonly number[];
  readonly generatedIds: readonly number[];
}

/** Distributions after penalties and filters, row by row; survivors must be exactly the same. */
export function runSampling(test: DecoderCase): Verdict {
  const rows = test.json.rows as readonly SamplingRow[];
  const logits = tensor(test, "logits", "f32");
  const expected = tensor(test, "probabilities", "f32");
  const survivors = tensor(test, "kept", "i32");
  const tolerance = test.tolerance.probabilities ?? 1e-5;
  const size = logits.length / rows.length;
  return first(
    ...rows.map((row, r) => {
      const { probabilities, kept } = samplingProbabilities(
        logits.subarray(r * size, (r + 1) * size),
        row.params,
        row,
      );
      for (let id = 0; id < size; id++) {
        if (kept[id] !== survivors[r * size + id])
          return failed(`${row.name}: token ${id} ${kept[id] ? "survived" : "was dropped"}`);
        if (!(Math.abs(probabilities[id]! - expected[r * size + id]!) <= tolerance))
          return failed(
            `${row.name}: p(${id}) expected ${expected[r * size + id]}, got ${probabilities[id]}`,
          );
      }
      return passed;
    }),
  );
}
