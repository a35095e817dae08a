import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import type { EventStreamOptions } from "./event-stream.ts";
import type { Fleet } from "./fleet.ts";
import type { Metrics } from "./metrics/metrics.ts";
import type { SnapshotStore } from "./snapshots/snapshot-store.ts";

/** What routes work with. */
export interface HttpContext {
  readonly fleet: Fleet;
  readonly metrics: Metrics;
  readonly version: string;
  readonly stream: EventStreamOptions;
  /** Undefined: none are kept. */
  readonly snapshots?: SnapshotStore | undefined;
  /** Whether the inspector's page is served. */
  readonly inspector: boolean;
  /** Whether prompts and answers may be logged. */
  readonly logPrompts: boolean;
}

/** A room of the API: registers its routes. */
export type Routes = (context: HttpContext) => FastifyPluginAsyncZod;
