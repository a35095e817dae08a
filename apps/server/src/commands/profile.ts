import type { Command } from "commander";
import { registerBaklava } from "./profile/baklava.ts";
import { registerDuoAttention } from "./profile/duo-attention.ts";
import { registerExpectedAttention } from "./profile/expected-attention.ts";
import { registerHeadKV } from "./profile/head-kv.ts";
import { registerHeatKV } from "./profile/heat-kv.ts";
import { registerKVzap } from "./profile/kv-zap.ts";
import { registerQFilters } from "./profile/q-filters.ts";

export function registerProfile(program: Command): void {
  const profile = program
    .command("profile")
    .description("measure or train once, for one model, what a method needs");
  for (const register of [
    registerBaklava,
    registerDuoAttention,
    registerExpectedAttention,
    registerHeadKV,
    registerHeatKV,
    registerKVzap,
    registerQFilters,
  ])
    register(profile);
}
