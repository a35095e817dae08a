import { answerObserved, type TaskFamily } from "@kvcache/evals";
import { retrievalCollector } from "@kvcache/policies";
import type { Command } from "commander";
import { guarded } from "../../fail.ts";
import {
  addCalibrationOptions,
  type CalibrationOptions,
  calibrate,
  profileText,
} from "./calibration.ts";

/** Families whose answer stands at one place of the text. */
const tasks: readonly TaskFamily[] = [
  "niah_single",
  "niah_multikey",
  "kv_json",
  "fact_qa",
  "text_recall",
];

const run = (options: CalibrationOptions) =>
  calibrate(
    "head-kv",
    options,
    { signals: ["chunkQueries"], tasks },
    async ({ run, samples, model, about, work, bar }) => {
      const collector = retrievalCollector(run.model.graph.shape);
      await work({
        parts: samples,
        state: collector.state,
        restore: collector.restore,
        async run(sample) {
          const { scorer, begin } = collector;
          collector.end((await answerObserved(run.runner, scorer, sample, begin)) ?? false);
        },
        sizeOf: ({ length }) => length,
      });
      bar.done(`${collector.counted} of ${samples.length} samples were answered right and count`);
      return profileText(collector.profile(model), about);
    },
  );

export function registerHeadKV(profile: Command): void {
  const command = profile
    .command("head-kv")
    .description("how well every query head finds what answers a question");
  addCalibrationOptions(command).action(guarded(run));
}
