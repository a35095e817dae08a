import { observeSample } from "@kvcache/evals";
import { calibrateQueryStatistics, queryCollector, writeQueryStatistics } from "@kvcache/policies";
import type { Command } from "commander";
import { guarded } from "../../fail.ts";
import {
  aboutText,
  addCalibrationOptions,
  type CalibrationOptions,
  calibrate,
} from "./calibration.ts";

interface Options extends CalibrationOptions {
  readonly half?: boolean;
}

const run = (options: Options) =>
  calibrate(
    "expected-attention",
    options,
    { signals: ["queryStatistics"] },
    async (calibration) => {
      const { run, samples, model, work } = calibration;
      const { shape } = run.model.graph;
      const collector = queryCollector(shape, { rotated: false });
      await work({
        ...collector,
        parts: samples,
        run: (sample) => observeSample(run.runner, collector.scorer, sample),
        sizeOf: ({ length }) => length,
      });
      const collected = collector.collected();
      const statistics = calibrateQueryStatistics(collected, shape, model.fingerprint);
      const about = aboutText(calibration, { queries: collected.count });
      return writeQueryStatistics(statistics, about, options.half ? "F16" : "F32");
    },
  );

export function registerExpectedAttention(profile: Command): void {
  const command = profile
    .command("expected-attention")
    .description("mean and covariance of every head's queries, before RoPE")
    .option("--half", "write 16-bit floats");
  addCalibrationOptions(command).action(guarded(run));
}
