import { definePolicy } from "@kvcache/core";
import { compressSample } from "@kvcache/evals";
import {
  kvZapSurrogateOf,
  kvZip,
  kvZipPlus,
  type SurrogateLayer,
  surrogateCorrelations,
  surrogateSamples,
  trainLinearSurrogate,
  trainMlp,
  writeKvZap,
} from "@kvcache/policies";
import { type Command, Option } from "commander";
import { tokenCount } from "../../arguments.ts";
import { fromCommandLine, guarded } from "../../fail.ts";
import {
  aboutText,
  addCalibrationOptions,
  type Calibration,
  type CalibrationOptions,
  calibrate,
} from "./calibration.ts";

interface Options extends CalibrationOptions {
  readonly kind: "mlp" | "linear";
  readonly teacher: keyof typeof teachers;
  readonly perSample: string;
  readonly width: string;
  readonly epochs: string;
  readonly alpha: string;
  readonly half?: boolean;
}

const teachers = { "kv-zip-plus": kvZipPlus, "kv-zip": kvZip } as const;

function run(options: Options): Promise<void> {
  const settings = fromCommandLine(() => ({
    kind: options.kind,
    teacher: options.teacher,
    perSample: tokenCount("--per-sample", options.perSample),
    width: tokenCount("--width", options.width),
    epochs: tokenCount("--epochs", options.epochs),
    alpha: Number(options.alpha),
  }));
  const signals = ["replay", "chunkQueries", "hidden"] as const;
  return calibrate("kv-zap", options, { signals, settings }, (calibration) =>
    trained(calibration, settings, options.half ? "F16" : "F32"),
  );
}

interface Settings {
  readonly kind: Options["kind"];
  readonly teacher: Options["teacher"];
  readonly perSample: number;
  readonly width: number;
  readonly epochs: number;
  readonly alpha: number;
}

async function trained(
  calibration: Calibration,
  { kind, teacher, perSample, width, epochs, alpha }: Settings,
  dtype: "F32" | "F16",
): Promise<Uint8Array> {
  const { run, samples, seed, model, work, bar } = calibration;
  const { numLayers } = run.model.graph.shape;
  /** The last eighth tells how well the rest was learnt. */
  const held = Math.max(1, Math.floor(samples.length / 8));
  const policy = teachers[teacher]();
  const [taken, heldOut] = [seed, seed + 1].map((own) => {
    const collected = surrogateSamples(policy.scorer, { perSequence: perSample, seed: own });
    const plan = {
      eviction: {
        policy: definePolicy({ ...policy, scorer: collected.scorer }),
        target: { ratio: 1 },
      },
    };
    return { collected, plan };
  }) as [Taken, Taken];
  const layers: SurrogateLayer[] = [];
  const training = Array.from({ length: kind === "mlp" ? numLayers : 0 }, (_, layer) => layer);

  await work({
    parts: [...samples, ...training],
    // An epoch of a layer takes about as long as the teacher takes for so many tokens.
    sizeOf: (part) => (typeof part === "number" ? 300 * epochs : part.length),
    saveEvery: 60,
    state: () => ({
      ...named("taken", taken.collected.state()),
      ...named("held", heldOut.collected.state()),
      ...Object.assign({}, ...layers.map((layer, i) => named(`layer${i}`, { ...layer }))),
    }),
    restore(arrays) {
      taken.collected.restore(unnamed("taken", arrays));
      heldOut.collected.restore(unnamed("held", arrays));
      for (let i = 0; arrays[`layer${i}.weight1`]; i++)
        layers.push(unnamed(`layer${i}`, arrays) as unknown as SurrogateLayer);
    },
    async run(part, index) {
      if (typeof part !== "number") {
        const { plan } = index < samples.length - held ? taken : heldOut;
        return compressSample(run.runner, plan, part);
      }
      const own = { width, epochs, seed: seed + part };
      layers.push(trainMlp(taken.collected.layer(part), own));
      await new Promise((resolve) => setImmediate(resolve));
    },
  });
  const { inputs, count } = taken.collected.layer(0);
  const weights =
    kind === "mlp"
      ? kvZapSurrogateOf(layers, inputs.length / count, model.fingerprint)
      : trainLinearSurrogate(taken.collected, { alpha, model: model.fingerprint });
  const correlations = surrogateCorrelations(weights, heldOut.collected.layer);
  const mean = correlations.reduce((a, b) => a + b, 0) / correlations.length;
  const least = Math.min(...correlations);
  bar.done(
    `correlation with ${teacher} on ${held} other samples: mean ${mean.toFixed(3)}, least ${least.toFixed(3)}`,
  );
  const more = { kind, teacher, tokens: count, correlation: mean.toFixed(4) };
  return writeKvZap(weights, aboutText(calibration, more), dtype);
}

interface Taken {
  readonly collected: ReturnType<typeof surrogateSamples>;
  readonly plan: Parameters<typeof compressSample>[1];
}

type Arrays = Readonly<Record<string, Float32Array | Float64Array>>;

const named = (prefix: string, arrays: Arrays): Arrays =>
  Object.fromEntries(Object.entries(arrays).map(([name, data]) => [`${prefix}.${name}`, data]));

const unnamed = (prefix: string, arrays: Arrays): Arrays =>
  Object.fromEntries(
    Object.entries(arrays).flatMap(([name, data]) =>
      name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), data]] : [],
    ),
  );

export function registerKVzap(profile: Command): void {
  const command = profile
    .command("kv-zap")
    .description("train what predicts KVzip's scores from block inputs")
    .addOption(new Option("--kind <kind>", "of the map").choices(["mlp", "linear"]).default("mlp"))
    .addOption(
      new Option("--teacher <method>", "whose scores are learnt")
        .choices(Object.keys(teachers))
        .default("kv-zip-plus"),
    )
    .option("--per-sample <n>", "tokens taken of each sample", "500")
    .option("--width <n>", "of an MLP's middle", "512")
    .option("--epochs <n>", "passes over an MLP's examples", "15")
    .option("--alpha <a>", "ridge of a linear map", "1")
    .option("--half", "write 16-bit floats");
  addCalibrationOptions(command, { samples: 132, lengths: "512,1024" }).action(guarded(run));
}
