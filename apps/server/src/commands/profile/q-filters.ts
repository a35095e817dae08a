import { observeSample } from "@kvcache/evals";
import { calibrateQFilters, queryCollector, writeQFilters } from "@kvcache/policies";
import type { Command } from "commander";
import { guarded } from "../../fail.ts";
import {
  aboutText,
  addCalibrationOptions,
  type CalibrationOptions,
  calibrate,
} from "./calibration.ts";

const run = (options: CalibrationOptions) =>
  calibrate("q-filters", options, { signals: ["chunkQueries"] }, async (calibration) => {
    const { run, samples, model, work } = calibration;
    const { shape } = run.model.graph;
    const collector = queryCollector(shape, { rotated: true });
    await work({
      ...collector,
      parts: samples,
      run: (sample) => observeSample(run.runner, collector.scorer, sample),
      sizeOf: ({ length }) => length,
    });
    const collected = collector.collected();
    const filters = calibrateQFilters(collected, shape, model.fingerprint);
    return writeQFilters(filters, aboutText(calibration, { queries: collected.count }));
  });

export function registerQFilters(profile: Command): void {
  const command = profile
    .command("q-filters")
    .description("the direction of every head that keys are attended to least along");
  addCalibrationOptions(command).action(guarded(run));
}
