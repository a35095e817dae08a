import { type EvalVariant, evaluateSample, observeSample, type StateArrays } from "@kvcache/evals";
import {
  baklava,
  baklavaProfile,
  type ImportanceSums,
  importanceOf,
  importanceProfiler,
  type ShareSettings,
  searchShares,
  shareGrid,
} from "@kvcache/policies";
import { type Command, Option } from "commander";
import { tokenCount } from "../../arguments.ts";
import { fromCommandLine, guarded } from "../../fail.ts";
import { parseBudget } from "../../quantities.ts";
import {
  addCalibrationOptions,
  type Calibration,
  type CalibrationOptions,
  calibrate,
  profileText,
} from "./calibration.ts";

interface Options extends CalibrationOptions {
  readonly compare: "value" | "residual" | "slice";
  readonly ratios: string;
  readonly search: string;
}

const forks = 16;

function run(options: Options): Promise<void> {
  const settings = fromCommandLine(() => ({
    compare: options.compare,
    ratios: options.ratios.split(",").map((ratio) => {
      const target = parseBudget(ratio);
      return "ratio" in target ? target.ratio : 1;
    }),
    search: tokenCount("--search", options.search),
  }));
  return calibrate("baklava", options, { signals: ["headOutputs"], forks, settings }, (own) =>
    profiled(own, settings),
  );
}

interface Settings {
  readonly compare: Options["compare"];
  readonly ratios: readonly number[];
  /** Samples of the search, the last ones. */
  readonly search: number;
}

async function profiled(
  { run, samples, model, about, work, bar }: Calibration,
  { compare, ratios, search }: Settings,
): Promise<string> {
  const { shape } = run.model.graph;
  const profiler = importanceProfiler(shape, { compare });
  const grid = shareGrid();
  /** Negative log-likelihoods of the gold answers, summed over samples: [ratio, grid point]. */
  const losses = new Float64Array(ratios.length * grid.length);
  const held = Math.min(search, samples.length - 1);
  const profile = (found: Parameters<typeof baklavaProfile>[0]["found"] = []) =>
    baklavaProfile({
      model,
      shape,
      importance: importanceOf(profiler.sums(), shape.numKvHeads),
      found,
      about: { compare, searchSamples: held },
    });
  let variants: readonly EvalVariant[] | undefined;

  await work({
    parts: samples,
    sizeOf: ({ length }) => length,
    state: () => ({ ...arraysOf(profiler.sums()), losses: losses.slice() }),
    restore(arrays) {
      profiler.add(sumsOf(arrays, shape));
      losses.set(arrays.losses!);
    },
    async run(sample, index) {
      if (index < samples.length - held) return observeSample(run.runner, profiler.scorer, sample);
      variants ??= variantsOf(profile(), ratios, grid);
      const options = { question: "visible", variants, maxForks: forks } as const;
      for (const { policy, nll } of await evaluateSample(run.runner, sample, options))
        losses[Number(policy)]! += nll;
    },
  });
  const found = [];
  for (const [r, ratio] of ratios.entries()) {
    const known = grid.map(
      (settings, g) => [settings, losses[r * grid.length + g]! / held] as const,
    );
    const best = await searchShares({ ratio, known, evaluate: async () => Number.NaN });
    bar.done(
      `ratio ${ratio}: gamma ${best.gamma}, ${JSON.stringify(best.family)}, NLL ${best.nll.toFixed(4)} (even split ${best.nllUniform.toFixed(4)})`,
    );
    found.push(best);
  }
  return profileText(profile(found), about);
}

/** Every grid point at every ratio; its place in the table of losses is its name. */
const variantsOf = (
  profile: ReturnType<typeof baklavaProfile>,
  ratios: readonly number[],
  grid: readonly ShareSettings[],
): EvalVariant[] => {
  const policies = grid.map((settings) => baklava({ profile, ...settings }));
  return ratios.flatMap((ratio, r) =>
    policies.map((policy, g) => ({
      policy: String(r * grid.length + g),
      budget: String(ratio),
      eviction: { policy, target: { ratio } },
    })),
  );
};

const sides = ["heads", "layers"] as const;
const parts = ["sum", "squares", "count"] as const;

const arraysOf = (sums: ImportanceSums): StateArrays =>
  Object.fromEntries(
    sides.flatMap((side) =>
      parts.map((part) => [`${side}.${part}`, Float64Array.from(sums[side][part])]),
    ),
  );

function sumsOf(
  arrays: StateArrays,
  { numLayers, numQueryHeads }: Pick<ImportanceSums, "numLayers" | "numQueryHeads">,
): ImportanceSums {
  const side = (name: string) => {
    const part = (field: string) => [...arrays[`${name}.${field}`]!];
    return { sum: part("sum"), squares: part("squares"), count: part("count") };
  };
  return { numLayers, numQueryHeads, heads: side("heads"), layers: side("layers") };
}

export function registerBaklava(profile: Command): void {
  const command = profile
    .command("baklava")
    .description("how much every head changes what enters it, and the budgets that follow")
    .addOption(
      new Option("--compare <what>", "a head's output with its value, its effect or its slice")
        .choices(["value", "residual", "slice"])
        .default("value"),
    )
    .option("--ratios <list>", "kept fractions that budgets are searched for", ".5,.3,.2,.1")
    .option("--search <n>", "samples of the search, held out from the profile", "24");
  addCalibrationOptions(command).action(guarded(run));
}
