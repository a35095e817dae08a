import { testScorer } from "@kvcache/testing";
import { accumulatedAttention, keyNorm, position, scorerFrom, windowAttention } from "./index.ts";

testScorer("keyNorm", () => keyNorm());
testScorer("position", () => position());
testScorer("windowAttention", () =>
  windowAttention({ window: 4, pooling: { kind: "avg", size: 3 } }),
);
testScorer("windowAttention of all heads", () => windowAttention({ window: 1, allHeads: true }));
testScorer("windowAttention, pooled first, in slabs", () =>
  windowAttention({
    window: 6,
    power: 2,
    buffer: 2,
    pooling: { kind: "max", size: 3 },
    rowReduce: "sum",
    groupReduce: "sum",
    poolFirst: true,
    slab: 4,
    excludeWindow: false,
  }),
);
testScorer("accumulatedAttention", () => accumulatedAttention());
testScorer("accumulatedAttention from a prompt's end on", () =>
  accumulatedAttention({
    power: 2,
    phase: "decode",
    buffer: 1,
    atPrefillEnd: windowAttention({ window: 4, excludeWindow: false }),
  }),
);
testScorer("scorerFrom", () =>
  scorerFrom("value-size", [], ({ values, length, headDim }) =>
    Array.from({ length }, (_, j) =>
      Math.hypot(...values.subarray(j * headDim, (j + 1) * headDim)),
    ),
  ),
);
