import { createReferenceBackend } from "@kvcache/backend-reference";
import { expect, it } from "vitest";
import { testBackend } from "./index.ts";
import { randomModel, randomModels } from "./random-model.ts";

// Against itself: the battery's own bookkeeping must hold.
testBackend("reference", () => createReferenceBackend());

it("uses every kind of node", () => {
  const ops = Object.values(randomModels).flatMap((config) =>
    randomModel(config, 1).graph.nodes.map(({ op }) => op),
  );
  expect([...new Set(ops)].sort()).toEqual([
    "add",
    "embed",
    "gatedActivation",
    "gather",
    "linear",
    "logits",
    "pagedAttention",
    "rmsNorm",
    "rope",
  ]);
});
