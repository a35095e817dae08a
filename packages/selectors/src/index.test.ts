import { testSelector } from "@kvcache/testing";
import { topK } from "./index.ts";

testSelector("topK", () => topK(), { ties: "lower-slot" });
testSelector("topK, higher slot", () => topK({ ties: "higher-slot" }), { ties: "higher-slot" });
