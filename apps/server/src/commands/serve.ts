import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type CachePlan, KvCacheError } from "@kvcache/core";
import { createMemorySwap, type TraceEvent } from "@kvcache/engine";
import { createFileSwap } from "@kvcache/paged";
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
import { fromCommandLine, guarded } from "../fail.ts";
import { createFleet } from "../http/fleet.ts";
import { createModelInspector } from "../http/inspector/model-inspector.ts";
import { policyName } from "../http/kv-plan.ts";
import { createMetrics } from "../http/metrics/metrics.ts";
import { createModelMetrics } from "../http/metrics/model-metrics.ts";
import { type ModelSettings, modelsOf } from "../http/models-file.ts";
import { checkExposure, isLoopback, readKeys } from "../http/security.ts";
import { createServedModel } from "../http/served-model.ts";
import { createHttpServer } from "../http/server.ts";
import { onSignals } from "../http/shutdown.ts";
import { openSnapshotStore } from "../http/snapshots/snapshot-store.ts";
import { parseStoreUrl } from "../kv-store/redis-store.ts";
import { formatBytes, formatTarget, parseBytes } from "../quantities.ts";
import { version } from "../version.ts";
import { addSharingOptions, openSharing, type SharingOptions } from "./sharing.ts";

interface Options extends Omit<RunOptions, "json">, SharingOptions {
  readonly policy: string;
  readonly budget?: string;
  readonly name?: string;
  readonly config?: string;
  readonly policies?: string;
  readonly profiles?: string;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: readonly string[];
  readonly apiKeyFile?: string;
  readonly allowUnauthenticated?: boolean;
  readonly corsOrigins?: readonly string[];
  readonly maxNumSeqs: number;
  readonly maxQueue: number;
  readonly maxBody: string;
  readonly swap?: string;
  readonly swapBytes: string;
  readonly prefixMemory?: string;
  readonly snapshots?: string;
  readonly snapshotBytes: string;
  readonly snapshotTtl: number;
  readonly shutdownTimeout: number;
  readonly logLevel: string;
  readonly logPrompts?: boolean;
  readonly inspector?: "on" | "off" | "text";
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

async function serve(options: Options, open: typeof assemble): Promise<void> {
  const { keys, settings } = fromCommandLine(() => {
    const given = readKeys(options.apiKey ?? [], options.apiKeyFile);
    checkExposure(options.host, given.length, options.allowUnauthenticated ?? false);
    if (options.kvStore !== undefined) parseStoreUrl(options.kvStore);
    return { keys: given, settings: modelsOf(options) };
  });
  // Other machines see no more than they must, unless told to.
  const inspect = options.inspector ?? (isLoopback(options.host) ? "on" : "off");
  const metrics = createMetrics();
  const fleet = createFleet({ maxQueue: options.maxQueue });
  const damaged: string[] = [];
  const snapshots =
    options.snapshots === undefined
      ? undefined
      : await openSnapshotStore({
          folder: options.snapshots,
          maxBytes: parseBytes(options.snapshotBytes),
          maxAge: options.snapshotTtl,
          onDamaged: (file) => void damaged.push(file),
          onLeft: (file, err) =>
            app.log.warn({ file, err }, "an old snapshot could not be removed"),
        });
  const app = await createHttpServer({
    fleet,
    metrics,
    version,
    snapshots,
    apiKeys: keys,
    corsOrigins: options.corsOrigins ?? [],
    maxBodyBytes: parseBytes(options.maxBody),
    stream: { pingMs: 30_000, stallMs: 60_000 },
    logLevel: options.logLevel,
    logPrompts: options.logPrompts ?? false,
    inspector: inspect !== "off",
  });
  if (damaged.length > 0) app.log.warn({ files: damaged }, "snapshots are damaged and not served");
  const sharing = await openSharing(options, app.log);
  let loading: Promise<void> = Promise.resolve();
  const shutdown = onSignals(async (signal) => {
    app.log.info({ signal, timeoutSeconds: options.shutdownTimeout }, "draining");
    const aborted = await fleet.drain(options.shutdownTimeout * 1000);
    await app.close();
    // What is loading cannot be stopped: it is closed with the others once it is there.
    await loading.catch((err) => app.log.warn({ err }, "a model could not be loaded"));
    await end();
    app.log.info({ aborted }, "stopped");
    return aborted > 0 ? 3 : 0;
  });
  try {
    // Listens at once: probes see "loading" rather than nothing.
    await app.listen({ host: options.host, port: options.port }).catch(cannotListen);
    loading = loadAll();
    await loading;
  } catch (error) {
    // Whoever was told to stop has nothing to fail at.
    if (fleet.phase !== "draining") {
      await app.close();
      await end();
      throw error;
    }
  }
  fleet.ready();
  if (fleet.phase === "ready")
    app.log.info(
      {
        inspector: inspect,
        keys: keys.length,
        cors: options.corsOrigins ?? [],
        ...sharing.about(),
      },
      "ready",
    );
  await shutdown;

  async function loadAll(): Promise<void> {
    for (const model of settings) if (fleet.phase === "loading") await load(model);
  }

  /** Closes what was loaded and what it shared. */
  async function end(): Promise<void> {
    await sharing.finish();
    for (const { run } of fleet.models) await run.close();
    await sharing.close();
  }

  async function load(model: ModelSettings): Promise<void> {
    const defaultPlan = planOf(model);
    const reported = createModelMetrics(metrics, model.name);
    const inspector =
      inspect === "off" ? undefined : createModelInspector({ showText: inspect === "text" });
    const { sink: announce, ...shared } = await sharing.join(model, reported);
    const sink = (event: TraceEvent) => {
      announce?.(event);
      reported.sink(event);
      inspector?.sink(event);
    };
    if (snapshots) reported.watchSnapshots(snapshots);
    const began = performance.now();
    const swap =
      options.swap === undefined
        ? undefined
        : await createFileSwap({
            folder: join(options.swap, model.name.replace(/[^\w.-]/g, "_")),
            maxBytes: parseBytes(options.swapBytes),
          });
    const run = await open(
      assembleOptions(model, servedPlans(options.policies, defaultPlan), {
        maxSequences: model.maxNumSeqs,
        trace: { sink },
        swap: swap ?? createMemorySwap(parseBytes(options.swapBytes)),
        ...(options.prefixMemory === undefined
          ? {}
          : { prefixMemory: parseBytes(options.prefixMemory) }),
        watchBlocks: reported.watchBlocks,
        ...shared,
        onProgress: (message) => app.log.debug({ model: model.name }, message),
      }),
    );
    const served = createServedModel({
      id: model.name,
      run,
      profiles: options.profiles,
      defaultPlan,
      metrics: reported,
      inspector,
    });
    fleet.add(served);
    const { eviction } = defaultPlan;
    // Refused here, not by the first request.
    if (eviction) run.engine.explain(defaultPlan);
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

/** The address belongs to somebody else, or is none of this machine. */
function cannotListen(cause: NodeJS.ErrnoException): never {
  if (cause.syscall !== "listen" && cause.syscall !== "bind" && cause.syscall !== "getaddrinfo")
    throw cause;
  throw new KvCacheError("unsupported", `The server cannot listen: ${cause.message}.`, {
    value: cause.code,
    remedy: "Give another --host or --port.",
    cause,
  });
}

const whole = (low: number, high: number) => (text: string) => {
  const value = Number(text);
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new InvalidArgumentError(`not an integer from ${low} to ${high}.`);
};

const collect = (value: string, before: readonly string[] = []) => [...before, value];

/** `open` makes what serves a model. */
export function registerServe(program: Command, open: typeof assemble = assemble): void {
  const command = program
    .command("serve")
    .description("answer OpenAI's HTTP API")
    .option("--name <name>", "what requests call the model (default: its own name)")
    .option("--config <file>", "JSON with several models: see the README")
    .option("--profiles <folder>", "profiles and weights that requests may name in their plans")
    .option("--policies <names>", "policies that requests may name (default: all that can run)")
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <port>", "0: any free one", whole(0, 65535), 8000)
    .option("--api-key <key>", "a key that clients must send; repeatable", collect)
    .option("--api-key-file <file>", "keys, one a line")
    .option("--allow-unauthenticated", "answer other machines without a key")
    .option("--cors-origins <origins...>", "web origins whose pages may ask")
    .option("--max-num-seqs <n>", "sequences that run at once", whole(1, 4096), 32)
    .option("--max-queue <n>", "requests that may wait; more get 429", whole(0, 1e6), 256)
    .option("--prefix-memory <size>", "most bytes of cached prefixes (default: the whole pool)")
    .option(
      "--swap <folder>",
      "compressed requests that lose their place wait there, not in memory",
    )
    .option("--swap-bytes <size>", "most bytes that wait", "1GiB")
    .option("--snapshots <folder>", "keep caches of prompts there: /v1/kv/snapshots")
    .option("--snapshot-bytes <size>", "most bytes of all snapshots", "4GiB")
    .option("--snapshot-ttl <seconds>", "longest life of one", whole(1, 2 ** 31), 604_800)
    .option("--max-body <size>", "largest request body", "16MiB")
    .option("--shutdown-timeout <seconds>", "for running requests on SIGTERM", whole(0, 86400), 30)
    .addOption(
      new Option("--log-level <level>", "what is logged on standard output")
        .choices(["debug", "info", "warn", "error", "silent"])
        .default("info"),
    )
    .option("--log-prompts", "log prompts too")
    .addOption(
      new Option(
        "--inspector <what>",
        "the page /inspector; text: with prompts and answers (default: on for loopback only)",
      ).choices(["on", "off", "text"]),
    );
  addSharingOptions(addPlanOptions(addRunOptions(command)), whole).action(
    guarded((options: Options) => serve(options, open)),
  );
}
