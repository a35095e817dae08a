import { blocksFor, cacheLayout, hostTensor, indptrOf, type SequenceSlot } from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import fc from "fast-check";
import { expect, it } from "vitest";
import { findAdapter } from "./adapter.ts";
import { createCommandQueue } from "./command-queue.ts";
import { openGpu } from "./gpu.ts";
import { createDeviceCache } from "./webgpu-cache.ts";

const layout = cacheLayout(
  { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 8 },
  { blockSize: 4 },
);
const most = 60;

/** A cache on a device that runs nothing, and what its block tables would hold there. */
async function tablesOnDevice() {
  const adapter = await findAdapter({ dawnOptions: ["backend=null"] });
  const gpu = await openGpu(adapter, "T0");
  const queue = createCommandQueue(gpu);
  const words = new Map<number, number>();
  const device = createDeviceCache(
    gpu,
    {
      ...queue,
      fill(memory, data) {
        queue.fill(memory, data);
        if (memory.buffer.label !== "table changes") return;
        const pairs = data as Int32Array;
        for (let i = 0; i < pairs.length; i += 2) words.set(pairs[i]!, pairs[i + 1]!);
      },
    },
    { layout, maxSequences: 4, maxTokensPerSequence: most, numBlocks: 300 },
  );
  return { ...device, words };
}

const actions = fc.array(
  fc.record({
    what: fc.constantFrom("open", "append", "append", "fork", "truncate", "unshare", "compact"),
    which: fc.nat(3),
    tokens: fc.integer({ min: 1, max: 9 }),
    sync: fc.boolean(),
  }),
  { minLength: 10, maxLength: 40 },
);

it("sends every change of tables and lengths, whatever happened to a sequence", async () => {
  await fc.assert(
    fc.asyncProperty(actions, async (steps) => {
      const { gpu, words, cache, host, tables } = await tablesOnDevice();
      const open: SequenceSlot[] = [];
      const rows = host.lengths.length / host.maxSequences;
      const expectSent = (sequence: SequenceSlot) => {
        for (let row = sequence * rows; row < (sequence + 1) * rows; row++) {
          const length = host.lengths[row]!;
          expect(words.get(tables.lengthsAt + row) ?? 0).toBe(length);
          for (let i = 0; i < blocksFor(length, 4); i++) {
            const at = row * host.maxBlocksPerRow + i;
            expect(words.get(at) ?? 0).toBe(host.blockTables[at]);
          }
        }
      };
      for (const { what, which, tokens, sync } of steps) {
        const sequence = open[which % Math.max(1, open.length)];
        const room = most - (sequence === undefined ? 0 : host.nextPositions[sequence]!);
        if (what === "open" && open.length < 4) open.push(cache.open());
        else if (sequence === undefined) continue;
        else if (what === "open") cache.close(open.splice(open.indexOf(sequence), 1)[0]!);
        else if (what === "append" && room >= tokens) cache.append(sequence, tokens);
        else if (what === "fork" && open.length < 4) open.push(cache.fork(sequence));
        else if (what === "truncate")
          cache.truncate(sequence, Math.max(0, host.nextPositions[sequence]! - tokens));
        else if (what === "unshare") cache.unshare(sequence);
        else if (what === "compact") {
          const protect = { sinks: 0, recent: 0 };
          const batch = cache.batch([sequence], { protect, phase: "pressure" });
          const kept = Array.from(cache.sequenceStats(sequence).lengths, (length, row) =>
            Array.from({ length }, (_, j) => j).filter((j) => (j + row) % 3 !== 0),
          );
          await cache.compact(createHostEncoder(), batch, {
            indptr: hostTensor(indptrOf(kept.map(({ length }) => length))),
            indices: hostTensor(Uint32Array.from(kept.flat())),
          });
        }
        if (!sync) continue;
        tables.sync(open);
        for (const one of open) expectSent(one);
      }
      cache.dispose();
      gpu.dispose();
    }),
    { numRuns: 40 },
  );
});
