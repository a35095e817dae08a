import { ApiError, modelNotFound, unavailable } from "./api-error.ts";
import type { ServedModel } from "./served-model.ts";

export interface FleetLimits {
  /** Requests that may wait for a place; more are answered with 429. */
  readonly maxQueue: number;
}

/** A request that was let in. */
export interface Admission {
  readonly model: ServedModel;
  /** Fires when the client left or the server stops. */
  readonly signal: AbortSignal;
  abort(): void;
  /** Call it when the request is answered. */
  leave(): void;
}

/** The models of this server, and who is being served. */
export interface Fleet {
  readonly phase: "loading" | "ready" | "draining";
  readonly models: readonly ServedModel[];
  add(model: ServedModel): void;
  ready(): void;
  /** Throws 404 for an unknown name; no name means the first model. */
  find(name: string | null | undefined): ServedModel;
  /** Lets a request in, or throws 404, 429 or 503. */
  admit(name: string | null | undefined): Admission;
  /**
   * Lets nobody in any more and waits until everybody is served; after `timeoutMs` the rest is
   * aborted. Returns how many were.
   */
  drain(timeoutMs: number): Promise<number>;
}

export function createFleet({ maxQueue }: FleetLimits): Fleet {
  const models: ServedModel[] = [];
  const served = new Set<AbortController>();
  let phase: Fleet["phase"] = "loading";
  let onEmpty: (() => void) | undefined;
  /** How long requests took lately, in seconds: a moving mean. */
  let seconds = 1;

  const find: Fleet["find"] = (name) => {
    if (phase === "loading") throw unavailable("The models are still loading.");
    if (phase === "draining") throw unavailable("The server is shutting down.");
    const model = name ? models.find(({ id }) => id === name) : models[0];
    if (model) return model;
    const names = models.map(({ id }) => id);
    throw modelNotFound(name ?? "", names);
  };

  return {
    get phase() {
      return phase;
    },
    models,
    add: (model) => void models.push(model),
    ready() {
      phase = "ready";
    },
    find,
    admit(name) {
      const model = find(name);
      const { waiting, running } = model.run.engine.stats();
      if (waiting >= maxQueue) {
        const wait = Math.ceil((seconds * waiting) / Math.max(1, running));
        throw new ApiError(429, `${waiting} requests are waiting already; try again later.`, {
          code: "queue_full",
          headers: { "retry-after": String(Math.min(60, Math.max(1, wait))) },
        });
      }
      const controller = new AbortController();
      const began = performance.now();
      served.add(controller);
      return {
        model,
        signal: controller.signal,
        abort: () => controller.abort(),
        leave() {
          if (!served.delete(controller)) return;
          seconds += 0.1 * ((performance.now() - began) / 1000 - seconds);
          if (served.size === 0) onEmpty?.();
        },
      };
    },
    async drain(timeoutMs) {
      phase = "draining";
      if (served.size === 0) return 0;
      const empty = new Promise<void>((resolve) => {
        onEmpty = resolve;
      });
      let late = 0;
      const timer = setTimeout(() => {
        late = served.size;
        for (const controller of served) controller.abort();
      }, timeoutMs);
      await empty;
      clearTimeout(timer);
      return late;
    },
  };
}
