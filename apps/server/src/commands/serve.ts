import { availableParallelism } from "node:os";
import { type CachePlan, KvCacheError } from "@kvcache/core";
import { createPolicy, policyNames } from "@kvcache/policies";
import { type Command, InvalidArgumentError, Option } from "commander";
import { assemble } from "../assemble.ts";
import {
  addPlanOptions,
  addRunOptions,
  assembleOptions,
  planOf,
  type RunOptions,
} from "../cli-options.ts";
import { guarded } from "../fail.ts";
import { createFleet } from "../http/fleet.ts";
import { policyName } from "../http/kv-plan.ts";
import { createMetrics } from "../http/metrics/metrics.ts";
import { createModelMetrics } from "../http/metrics/model-metrics.ts";
import { type ModelSettings, modelsOf } from "../http/models-file.ts";
import { checkExposure, readKeys } from "../http/security.ts";
import { createServedModel } from "../http/served-model.ts";
import { createHttpServer } from "../http/server.ts";
import { onSignals } from "../http/shutdown.ts";
import { formatBytes, formatTarget, parseBytes } from "../quantities.ts";
import { version } from "../version.ts";

interface Options extends Omit<RunOptions, "json"> {
  readonly policy: string;
  readonly budget?: string;
  readonly name?: string;
  readonly config?: string;
  readonly policies?: string;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: readonly string[];
  readonly apiKeyFile?: string;
  readonly allowUnauthenticated?: boolean;
  readonly corsOrigins?: readonly string[];
  readonly maxNumSeqs: number;
  readonly maxQueue: number;
  readonly maxBody: string;
  readonly shutdownTimeout: number;
  readonly logLevel: string;
  readonly logPrompts?: boolean;
}

/** Plans that requests may bring: their signals are gathered, their windows fit the cache. */
function servedPlans(names: string | undefined, defaultPlan: CachePlan): readonly CachePlan[] {
  const list = names?.split(",").map((name) => name.trim()) ?? policyNames;
  const plans = list.flatMap((name): CachePlan[] => {
    try {
      return [{ eviction: { policy: createPolicy(name), target: { ratio: 1 } } }];
    } catch (error) {
      // Methods that need data of their own cannot run by name alone; a request may give it.
      if (names === undefined && error instanceof KvCacheError) return [];
      throw error;
    }
  });
  return [defaultPlan, ...plans];
}

async function serve(options: Options): Promise<void> {
  const keys = readKeys(options.apiKey ?? [], options.apiKeyFile);
  checkExposure(options.host, keys.length, options.allowUnauthenticated ?? false);
  const settings = modelsOf(options);
  const metrics = createMetrics();
  const fleet = createFleet({ maxQueue: options.maxQueue });
  const app = await createHttpServer({
    fleet,
    metrics,
    version,
    apiKeys: keys,
    corsOrigins: options.corsOrigins ?? [],
    maxBodyBytes: parseBytes(options.maxBody),
    stream: { pingMs: 30_000, stallMs: 60_000 },
    logLevel: options.logLevel,
    logPrompts: options.logPrompts ?? false,
  });
  const shutdown = onSignals(async (signal) => {
    app.log.info({ signal, timeoutSeconds: options.shutdownTimeout }, "draining");
    const aborted = await fleet.drain(options.shutdownTimeout * 1000);
    await app.close();
    for (const { run } of fleet.models) await run.close();
    app.log.info({ aborted }, "stopped");
    return aborted > 0 ? 3 : 0;
  });
  try {
    // Listens at once: probes see "loading" rather than nothing.
    await app.listen({ host: options.host, port: options.port });
    for (const model of settings) await load(model);
  } catch (error) {
    await app.close();
    throw error;
  }
  fleet.ready();
  app.log.info({ keys: keys.length, cors: options.corsOrigins ?? [] }, "ready");
  await shutdown;

  async function load(model: ModelSettings): Promise<void> {
    const defaultPlan = planOf(model);
    const reported = createModelMetrics(metrics, model.name);
    const began = performance.now();
    const run = await assemble(
      assembleOptions(model, servedPlans(options.policies, defaultPlan), {
        maxSequences: model.maxNumSeqs,
        trace: { sink: reported.sink },
        onProgress: (message) => app.log.debug({ model: model.name }, message),
      }),
    );
    const { eviction } = defaultPlan;
    // Refused here, not by the first request.
    if (eviction) run.engine.explain(defaultPlan);
    const served = createServedModel({ id: model.name, run, defaultPlan, metrics: reported });
    fleet.add(served);
    app.log.info(
      {
        model: model.name,
        source: model.model,
        backend: run.backend.description,
        threads: model.threads ?? availableParallelism(),
        dtype: model.dtype,
        kvDtype: model.kvDtype,
        policy: policyName(defaultPlan),
        budget: eviction ? formatTarget(eviction.target) : "everything is kept",
        pool: formatBytes(run.cache.stats().capacityBytes),
        blockSize: model.blockSize,
        maxSequences: model.maxNumSeqs,
        maxModelLength: served.maxModelLength,
        tools: served.toolFormat ? "as the chat template writes them" : "none in the chat template",
        seconds: Math.round(performance.now() - began) / 1000,
      },
      "model loaded",
    );
  }
}

const whole = (low: number, high: number) => (text: string) => {
  const value = Number(text);
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new InvalidArgumentError(`not an integer from ${low} to ${high}.`);
};

const collect = (value: string, before: readonly string[] = []) => [...before, value];

export function registerServe(program: Command): void {
  const command = program
    .command("serve")
    .description("answer OpenAI's HTTP API")
    .option("--name <name>", "what requests call the model (default: its own name)")
    .option("--config <file>", "JSON with several models: see the README")
    .option("--policies <names>", "policies that requests may name (default: all that can run)")
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <port>", "0: any free one", whole(0, 65535), 8000)
    .option("--api-key <key>", "a key that clients must send; repeatable", collect)
    .option("--api-key-file <file>", "keys, one a line")
    .option("--allow-unauthenticated", "answer other machines without a key")
    .option("--cors-origins <origins...>", "web origins whose pages may ask")
    .option("--max-num-seqs <n>", "sequences that run at once", whole(1, 4096), 32)
    .option("--max-queue <n>", "requests that may wait; more get 429", whole(0, 1e6), 256)
    .option("--max-body <size>", "largest request body", "16MiB")
    .option("--shutdown-timeout <seconds>", "for running requests on SIGTERM", whole(0, 86400), 30)
    .addOption(
      new Option("--log-level <level>", "what is logged on standard output")
        .choices(["debug", "info", "warn", "error", "silent"])
        .default("info"),
    )
    .option("--log-prompts", "log prompts too");
  addPlanOptions(addRunOptions(command)).action(guarded(serve));
}
