import type { PrefixWatcher } from "@kvcache/core";
import type { TraceEvent } from "@kvcache/engine";
import { type Assembled, assemble } from "../assemble.ts";
import type { GuardedStore } from "../kv-store/guarded-store.ts";
import { createStoreTier } from "../kv-store/store-tier.ts";
import { parsePlan } from "../plan-spec.ts";
import { createFleet, type Fleet } from "./fleet.ts";
import { createModelInspector } from "./inspector/model-inspector.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { createModelMetrics } from "./metrics/model-metrics.ts";
import { createServedModel } from "./served-model.ts";
import { createHttpServer, type HttpServerOptions } from "./server.ts";

export interface TestServer {
  readonly url: string;
  readonly fleet: Fleet;
  readonly run: Assembled;
  /** Posts JSON; the parsed answer and its status. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer>;
  get(path: string): Promise<Answer>;
  close(): Promise<void>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: bodies are whatever a test expects of them
  readonly body: any;
}

export interface TestServerOptions extends Partial<HttpServerOptions> {
  readonly model?: string;
  readonly maxQueue?: number;
  readonly maxSequences?: number;
  readonly kvMemory?: number;
  readonly showText?: boolean;
  /** Where prefixes are kept beside the cache. */
  readonly store?: GuardedStore;
  readonly watchPrefixes?: PrefixWatcher;
  readonly onTrace?: (event: TraceEvent) => void;
  /** Whose signals are gathered. */
  readonly plans?: readonly string[];
}

/** A real server on a free port with the shipped model. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { model = "tiny", maxQueue = 64, maxSequences = 8, kvMemory = 2 ** 26 } = options;
  const {
    showText = false,
    plans = ["snap-kv@0.5"],
    store,
    watchPrefixes,
    onTrace,
    ...http
  } = options;
  const metrics = createMetrics();
  const reported = createModelMetrics(metrics, "tiny");
  const inspector = createModelInspector({ showText });
  const run = await assemble({
    model,
    backend: "auto",
    threads: 2,
    dtype: "f32",
    kvDtype: "f32",
    blockSize: 16,
    kvMemory,
    maxSequences,
    plans: plans.map((plan) => parsePlan(plan)),
    watchBlocks: reported.watchBlocks,
    watchPrefixes,
    prefixTier:
      store &&
      ((cache) =>
        createStoreTier({ store, cache, maxQueueBytes: 2 ** 26, watcher: reported.store })),
    trace: {
      sink(event) {
        onTrace?.(event);
        reported.sink(event);
        inspector.sink(event);
      },
    },
  });
  if (store) reported.watchStore(() => store.up);
  if (http.snapshots) reported.watchSnapshots(http.snapshots);
  const fleet = createFleet({ maxQueue });
  const app = await createHttpServer({
    fleet,
    metrics,
    version: "0.0.0-test",
    apiKeys: [],
    corsOrigins: [],
    maxBodyBytes: 2 ** 20,
    stream: { pingMs: 30_000, stallMs: 5_000 },
    logLevel: "silent",
    logPrompts: false,
    inspector: true,
    ...http,
  });
  fleet.add(createServedModel({ id: "tiny", run, defaultPlan: {}, metrics: reported, inspector }));
  fleet.ready();
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  const ask = async (path: string, init: RequestInit = {}): Promise<Answer> => {
    const response = await fetch(url + path, init);
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json");
    const body = isJson ? JSON.parse(text) : undefined;
    return { status: response.status, headers: response.headers, text, body };
  };
  return {
    url,
    fleet,
    run,
    get: (path) => ask(path),
    post: (path, body, headers = {}) =>
      ask(path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    async close() {
      await app.close();
      await run.close();
    },
  };
}

/** The data of server-sent events, parsed; "[DONE]" as it is. */
export const eventsOf = (text: string) =>
  text
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => (line === "data: [DONE]" ? "[DONE]" : JSON.parse(line.slice(6))));
