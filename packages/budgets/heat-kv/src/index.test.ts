import { testBudget } from "@kvcache/testing";
import { heatKV } from "./index.ts";

testBudget("heat-kv", () => heatKV());
