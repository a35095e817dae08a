import { testBudget } from "@kvcache/testing";
import { uniform } from "./index.ts";

testBudget("uniform", () => uniform(), { exact: true });
testBudget("uniform, to the letter", () => uniform({ keepProtected: false }), { exact: true });
testBudget("uniform, a layer left out", () => uniform({ skipLayers: [1] }), { exact: true });
