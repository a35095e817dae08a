import { createEngine, type Engine, type EngineOptions } from "./engine.ts";
import type { GenerationRequest } from "./request.ts";
import { createWorld, type WorldOptions } from "./test-world.ts";

/** One engine at a time, with its prefix cache, for tests of what it uses again. */
export function reuseBench() {
  let engine: Engine;
  let world: ReturnType<typeof createWorld>;

  async function start(
    options: WorldOptions = {},
    prefixCache = true,
    scheduler: EngineOptions["scheduler"] = { watermark: 0 },
  ) {
    world = createWorld(options);
    engine = await createEngine({ ...world, prefixCache, scheduler });
  }

  const run = async (request: GenerationRequest) => {
    const { tokenIds, usage, kv } = await engine.generate(request).result;
    return { tokens: [...tokenIds], cached: usage.cachedTokens, kv };
  };

  /** What the same request gives on a fresh engine without reuse. */
  async function fresh(request: GenerationRequest, options: WorldOptions = {}): Promise<number[]> {
    const { session: _, ...rest } = request;
    const other = await createEngine({ ...createWorld(options), prefixCache: false });
    const { tokenIds } = await other.generate(rest).result;
    await other.dispose();
    return [...tokenIds];
  }

  return {
    start,
    run,
    fresh,
    get engine() {
      return engine;
    },
    get world() {
      return world;
    },
  };
}
