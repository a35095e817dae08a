import { describe, expect, it } from "vitest";
import { parsePlan } from "../plan-spec.ts";
import type { ApiError } from "./api-error.ts";
import { createPlanner, type KvRequest } from "./kv-plan.ts";

const overFull = createPlanner({});
const overSnapKv = createPlanner(parsePlan("snap-kv@0.5"));

/** Field and message of a refusal. */
function refusal(planOf: typeof overFull, request: KvRequest): [string | null, string] {
  try {
    planOf(request);
  } catch (error) {
    const { status, param, message } = error as ApiError;
    expect(status).toBe(400);
    return [param, message];
  }
  throw new Error("It was accepted.");
}

describe("a plan that cannot be made names the field", () => {
  it.each<[string, KvRequest]>([
    ["max_cache_tokens", { max_cache_tokens: 8 }],
    ["protected_window_size", { protected_window_size: 8 }],
    ["compress_once", { compress_once: true }],
    ["kv.budget", { kv: { budget: { tokens: 8 } }, max_cache_tokens: 9 }],
    ["kv.protect.recent", { kv: { protect: { recent: 8 } }, protected_window_size: 9 }],
    ["kv.protect.sinks", { kv: { protect: { sinks: 8 } } }],
    ["kv.window", { kv: { window: 8 } }],
    ["kv.interval", { kv: { policy: "full", interval: 8 } }],
  ])("%s of a full cache", (field, request) => {
    const [param, message] = refusal(overFull, request);
    expect(param).toBe(field);
    expect(message).toContain(`takes no ${field}.`);
  });

  it.each<[string, KvRequest]>([
    ["protected_window_size", { protected_window_size: 8 }],
    ["kv.protect.recent", { kv: { protect: { recent: 8 } } }],
    ["compress_once", { kv: { interval: 8 }, compress_once: true }],
    ["kv.window", { kv: { policy: "streaming-llm", window: 8 }, max_cache_tokens: 64 }],
  ])("%s of a policy", (field, request) => {
    const [param, message] = refusal(overSnapKv, request);
    expect(param).toBe(field);
    expect(message).toContain(field);
  });
});

it("both names of a wish give one plan, so that their sequences are compressed together", () => {
  const kv = { budget: { tokens: 99 }, protect: { recent: 70 } };
  const aliases = { max_cache_tokens: 99, protected_window_size: 70 };
  const plan = overSnapKv(aliases);
  expect(overSnapKv({ kv })).toBe(plan);
  expect(plan.eviction!.target).toEqual({ tokens: 99 });
  expect(plan.eviction!.policy.protect.recent).toBe(70);
});
