import { ApiError, modelNotFound, unavailable } from "./api-error.ts";
import type { ServedModel } from "./served-model.ts";

export interface FleetLimits {
  /** Requests that a model takes beside as many as it runs at once; more are answered with 429. */
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
  /** Lets requests in, unless the drain has begun. */
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
  const served = new Map<AbortController, ServedModel>();
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
      if (phase === "loading") phase = "ready";
    },
    find,
    admit(name) {
      const model = find(name);
      const places = model.run.limits.sequences;
      const inside = [...served.values()].filter((other) => other === model).length;
      if (inside >= places + maxQueue) {
        const wait = Math.ceil((seconds * (inside - places + 1)) / places);
        throw new ApiError(429, `${inside} requests are here already; try again later.`, {
          code: "queue_full",
          headers: { "retry-after": String(Math.min(60, Math.max(1, wait))) },
        });
      }
      const controller = new AbortController();
      const began = performance.now();
      served.set(controller, model);
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
        for (const controller of served.keys()) controller.abort();
      }, timeoutMs);
      await empty;
      clearTimeout(timer);
      return late;
    },
  };
}
