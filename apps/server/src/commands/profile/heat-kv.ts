import { observeSample } from "@kvcache/evals";
import { heatCollector } from "@kvcache/policies";
import { type Command, Option } from "commander";
import { tokenCount } from "../../arguments.ts";
import { fromCommandLine, guarded } from "../../fail.ts";
import {
  addCalibrationOptions,
  type CalibrationOptions,
  calibrate,
  profileText,
} from "./calibration.ts";

interface Options extends CalibrationOptions {
  readonly edges: string;
  readonly groupReduce: "max" | "mean";
  readonly queries: string;
}

function run(options: Options): Promise<void> {
  const settings = fromCommandLine(() => ({
    edges: options.edges.split(",").map((edge) => tokenCount("--edges", edge)),
    groupReduce: options.groupReduce,
    queriesPerPass: tokenCount("--queries", options.queries),
  }));
  return calibrate(
    "heat-kv",
    options,
    { signals: ["chunkQueries"], settings },
    async ({ run, samples, model, about, work }) => {
      const collector = heatCollector(run.model.graph.shape, settings);
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

export function registerHeatKV(profile: Command): void {
  const command = profile
    .command("heat-kv")
    .description("how much attention every head pays to stretches of context, by distance")
    .option("--edges <list>", "where stretches of distance end, in tokens", "64,256,1024,4096")
    .addOption(
      new Option("--group-reduce <how>", "over the query heads of a KV head")
        .choices(["max", "mean"])
        .default("max"),
    )
    .option("--queries <n>", "last queries of every 512 tokens that are looked at", "32");
  addCalibrationOptions(command, { samples: 24, lengths: "1024,2048,8192" }).action(guarded(run));
}
