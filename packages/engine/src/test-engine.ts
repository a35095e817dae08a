import { createEngine, type EngineOptions, type SchedulerOptions } from "./engine.ts";
import type { GenerationRequest } from "./request.ts";
import { createWorld, type WorldOptions } from "./test-world.ts";

export interface Setup extends WorldOptions {
  readonly scheduler?: SchedulerOptions;
  readonly prefixCache?: boolean;
  readonly swap?: NonNullable<EngineOptions["swap"]>;
  readonly signals?: NonNullable<EngineOptions["signals"]>;
  readonly trace?: NonNullable<EngineOptions["trace"]>;
}

export async function setUp({
  scheduler = {},
  prefixCache = false,
  signals = [],
  trace,
  swap,
  ...options
}: Setup = {}) {
  const world = createWorld(options);
  const engine = await createEngine({
    model: world.model,
    backend: world.backend,
    cache: world.cache,
    scheduler: { foresight: false, maxStall: Number.POSITIVE_INFINITY, ...scheduler },
    prefixCache,
    signals,
    ...(trace && { trace }),
    ...(swap && { swap }),
  });
  return { world, engine };
}

/** What a request generates with all the memory in the world and nobody beside it. */
export async function alone(request: GenerationRequest, options: Setup = {}): Promise<number[]> {
  const { engine } = await setUp({ ...options, numBlocks: 4000 });
  const { tokenIds } = await engine.generate(request).result;
  await engine.dispose();
  return [...tokenIds];
}

/** A turn of the event loop. */
export const tick = () => new Promise((resolve) => setImmediate(resolve));
