import { observeSample } from "@kvcache/evals";
import { duoCollector } from "@kvcache/policies";
import type { Command } from "commander";
import { tokenCount } from "../../arguments.ts";
import { fromCommandLine, guarded } from "../../fail.ts";
import {
  addCalibrationOptions,
  type CalibrationOptions,
  calibrate,
  profileText,
} from "./calibration.ts";

interface Options extends CalibrationOptions {
  readonly positions: string;
}

function run(options: Options): Promise<void> {
  const positions = fromCommandLine(() => tokenCount("--positions", options.positions));
  return calibrate(
    "duo-attention",
    options,
    { signals: ["queryStatistics"], settings: { positions } },
    async ({ run, samples, model, about, work }) => {
      const { view } = run.runner.runtime;
      const collector = duoCollector(run.model.graph.shape, { positions, view });
      await work({
        ...collector,
        parts: samples,
        run: (sample) => observeSample(run.runner, collector.scorer, sample),
        sizeOf: ({ length }) => length,
      });
      return profileText(collector.profile(model), about);
    },
  );
}

export function registerDuoAttention(profile: Command): void {
  const command = profile
    .command("duo-attention")
    .description("how far back every head looks, from mean queries and keys")
    .option("--positions <n>", "distances that means are compared at", "500");
  addCalibrationOptions(command, { samples: 50 }).action(guarded(run));
}
