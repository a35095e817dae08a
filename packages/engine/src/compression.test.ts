import {
  definePolicy,
  type Encoder,
  hostArray,
  hostTensor,
  type KvBatch,
  type Tensor,
} from "@kvcache/core";
import { expect, it } from "vitest";
import { recordCompression } from "./compression.ts";

const log: string[] = [];
const encoder: Encoder = {
  tensor: (dtype, length) =>
    hostTensor(dtype === "f32" ? new Float32Array(length) : new Uint32Array(length)),
  upload: hostTensor,
  run: (kernel) => void log.push(kernel.name),
  submit: async () => {},
  read: async (tensor) => hostArray(tensor, tensor.dtype),
};
const keep = { indptr: hostTensor(new Uint32Array(3)), indices: hostTensor(new Uint32Array(0)) };
const batch = { numRows: 2, totalSlots: 7 } as KvBatch;

const policy = (withTransform: boolean) =>
  definePolicy({
    name: "recorded",
    paper: "none",
    scorer: {
      name: "score",
      needs: [],
      score: (_, __, out) => void log.push(`score ${out.dtype} ${out.length}`),
    },
    budget: {
      name: "budget",
      needs: [],
      resolve: () => 0,
      allocate: (_, { target, scores }, counts) =>
        void log.push(
          `${JSON.stringify(target)} ${scores.length} ${counts.dtype} ${counts.length}`,
        ),
    },
    selector: {
      name: "select",
      select(_, __, scores: Tensor, counts: Tensor) {
        log.push(`select ${scores.length} ${counts.length}`);
        return keep;
      },
    },
    ...(withTransform && {
      transform: { name: "move", apply: (_, __, kept) => void log.push(`apply ${kept === keep}`) },
    }),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
    options: {},
  });

it("scores, protects, allots, selects and transforms, in this order", () => {
  const recorded = recordCompression(encoder, batch, policy(true), { tokens: 3 });
  expect(log.splice(0)).toEqual([
    "score f32 7",
    "protect-scores",
    '{"tokens":3} 7 u32 2',
    "select 7 2",
    "apply true",
  ]);
  expect(recorded.keep).toBe(keep);
  expect([recorded.scores.length, recorded.counts.length]).toEqual([7, 2]);
  recordCompression(encoder, batch, policy(false), { ratio: 1 });
  expect(log.splice(0)).toHaveLength(4);
});
