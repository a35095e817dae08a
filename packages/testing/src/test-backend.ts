import { createReferenceBackend } from "@kvcache/backend-reference";
import { type Backend, type HostCache, numRows, signalFlag } from "@kvcache/core";
import {
  createHostEncoder,
  gatherKeys,
  gatherPositions,
  gatherValues,
  rowView,
  slotOf,
} from "@kvcache/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kernelCases } from "./kernel-cases.ts";
import { type Chunk, type ModelRun, modelRun } from "./model-run.ts";
import { randomInteger, randomNumbers } from "./random.ts";
import { randomModel, randomModels } from "./random-model.ts";

export interface TestBackendOptions {
  /** Of logits, absolute and relative to the larger of 1 and the logit. Default 1e-3. */
  readonly tolerance?: number;
  /** The same of the values inside the model. Default 1e-4. */
  readonly tapTolerance?: number;
}

/** Registers the battery of a backend: everything it does is held against the reference backend. */
export function testBackend(
  name: string,
  makeBackend: () => Backend | Promise<Backend>,
  { tolerance = 1e-3, tapTolerance = 1e-4 }: TestBackendOptions = {},
): void {
  describe(`backend ${name}`, () => {
    let backend: Backend;
    const reference = createReferenceBackend();
    beforeAll(async () => {
      backend = await makeBackend();
    });
    afterAll(() => backend.dispose());

    for (const [title, config] of Object.entries(randomModels))
      describe(title, () => {
        const model = randomModel(config, 11);
        const vocabSize = model.graph.vocabSize;
        const random = randomNumbers(5);
        const ids = (count: number) =>
          Array.from({ length: count }, () => randomInteger(random, 0, vocabSize - 1));
        const prompts = [ids(23), ids(9)];
        const both: Chunk[] = prompts.map((tokenIds, sequence) => ({ sequence, tokenIds }));
        const next: Chunk[] = ids(2).map((id, sequence) => ({ sequence, tokenIds: [id] }));
        let runs: ModelRun[] = [];
        const start = async () => {
          runs = [await modelRun(backend, model), await modelRun(reference, model)];
          return runs as [ModelRun, ModelRun];
        };
        const stop = async () => {
          for (const run of runs.splice(0)) await run.dispose();
        };

        it("gives the reference's logits for a batch of prompts and the tokens after", async () => {
          const [own, oracle] = await start();
          expectClose(await own.step(both), await oracle.step(both), tolerance);
          for (const chunks of [next, next.slice(1), next])
            expectClose(await own.step(chunks), await oracle.step(chunks), tolerance);
          await stop();
        });

        it("gives the same last logits when a prompt comes in chunks", async () => {
          const [own, oracle] = await start();
          const [sequence, tokenIds] = [0, prompts[0]!];
          const whole = await oracle.step([{ sequence, tokenIds }], { logits: "last" });
          let last = new Float32Array();
          for (let from = 0; from < tokenIds.length; from += 7)
            last = (await own.step([{ sequence, tokenIds: tokenIds.slice(from, from + 7) }], {
              logits: "last",
            })) as Float32Array<ArrayBuffer>;
          expectClose(last, whole, tolerance);
          await stop();
        });

        it("attends over exactly what an eviction left, wherever it stands", async () => {
          const [own, oracle] = await start();
          for (const run of [own, oracle]) await run.step(both);
          const [first, second] = evictions(numRows(model.graph.shape), prompts[0]!.length);
          // The same tokens go: at once here, in two steps there, so that slots differ.
          await own.keep(0, (row) => first![row]!.filter((_, i) => second![row]!.includes(i)));
          await oracle.keep(0, (row) => first![row]!);
          const host = await oracle.host();
          const slotsOf = (row: number) => {
            const { numKvHeads } = model.graph.shape;
            const view = rowView(host, 0, Math.floor(row / numKvHeads), row % numKvHeads);
            const wanted = new Set(second![row]!.map((i) => first![row]![i]!));
            const positions = [...gatherPositions(view)];
            return positions.flatMap((position, slot) => (wanted.has(position) ? [slot] : []));
          };
          await oracle.keep(0, slotsOf);
          for (let i = 0; i < 3; i++)
            expectClose(await own.step(next), await oracle.step(next), tolerance);
          await stop();
        });

        it("gives out the values that it was loaded to give, on demand", async () => {
          const { nodes } = model.graph;
          const end = nodes.findIndex(({ op }) => op === "gather");
          const names = nodes.slice(0, end).map(({ out }) => out);
          const taps = names.toReversed();
          runs = [
            await modelRun(backend, model, { taps }),
            await modelRun(reference, model, { taps }),
          ];
          const [own, oracle] = runs as [ModelRun, ModelRun];
          // Nobody asks in the first pass.
          expectClose(await own.step(both), await oracle.step(both), tolerance);
          const [got, expected] = [new Map(), new Map<string, Float32Array>()];
          const logits = await own.step(next, { taps: got });
          expectClose(logits, await oracle.step(next, { taps: expected }), tolerance);
          expect([...got.keys()].sort()).toEqual(names.toSorted());
          for (const [value, numbers] of expected) {
            expect(numbers.length % 2, "one row per token").toBe(0);
            expectClose(got.get(value)!, numbers, tapTolerance, value);
          }
          await stop();
        });

        it("leaves the reference's keys, values and signals in the cache", async () => {
          const [own, oracle] = await start();
          const options = {
            flags:
              signalFlag.windowQueries | signalFlag.sumAttention | signalFlag.sumSquaredAttention,
            buffer: 2,
          };
          for (const run of [own, oracle]) {
            await run.step(both, options);
            await run.step(next, options);
          }
          const [host, expected] = [await own.host(), await oracle.host()];
          expectClose(host.windowQueries, expected.windowQueries, tolerance);
          for (const sequence of [0, 1])
            for (let row = 0; row < numRows(model.graph.shape); row++) {
              const [a, b] = [host, expected].map((cache) => contentsOf(cache, sequence, row));
              for (const part of ["keys", "values", "sums"] as const)
                expectClose(a![part], b![part], tolerance, part);
            }
          await stop();
        });
      });

    it("refuses to give out a value that the graph does not have", async () => {
      const model = randomModel(Object.values(randomModels)[0]!, 3);
      await expect(modelRun(backend, model, { taps: ["nobody"] })).rejects.toMatchObject({
        code: "invalid-argument",
        value: "nobody",
      });
    });

    it("runs kernels as their references do", async () => {
      const run = await modelRun(backend, randomModel(Object.values(randomModels)[0]!, 3));
      const chunk = (sequence: number, count: number) => ({
        sequence,
        tokenIds: Array.from({ length: count }, (_, i) => (7 * i + sequence) % 61),
      });
      await run.step([chunk(0, 31), chunk(1, 12)], { flags: 7, buffer: 1 });
      const [first] = evictions(numRows(run.cache.layout.shape), 31);
      await run.keep(0, (row) => first![row]!);
      await run.step([chunk(0, 2), chunk(1, 1)], { flags: 7, buffer: 1 });
      const batch = run.cache.batch([1, 0], { protect: { sinks: 2, recent: 3 }, phase: "decode" });
      const expectedCases = kernelCases({ ...batch, host: await run.host() });
      for (const [kernel, record] of Object.entries(kernelCases(batch))) {
        const [own, host] = [run.session.encoder(), createHostEncoder()];
        const got = await own.read(record(own));
        const expected = await host.read(expectedCases[kernel]!(host));
        expect(got.length, kernel).toBe(expected.length);
        expectClose(got as Float32Array, expected as Float32Array, 1e-5, kernel);
      }
      await run.dispose();
    });
  });
}

/** Per row the slots that a first and, counted among those, a second eviction keep. */
function evictions(rows: number, length: number): [number[][], number[][]] {
  const random = randomNumbers(17);
  const some = (count: number) =>
    Array.from({ length: count }, (_, i) => i).filter((i) => i === 0 || random() < 0.7);
  const first = Array.from({ length: rows }, () => some(length));
  return [first, first.map((kept) => some(kept.length))];
}

/** Keys, values and attention sums (Σa, then Σa²) of a row in slot order. */
function contentsOf(cache: HostCache, sequence: number, row: number) {
  const { numKvHeads } = cache.layout.shape;
  const view = rowView(cache, sequence, Math.floor(row / numKvHeads), row % numKvHeads);
  const slots = Array.from({ length: view.length }, (_, j) => slotOf(view, j));
  const { sumAttention, sumSquaredAttention } = view.arena;
  return {
    keys: gatherKeys(view),
    values: gatherValues(view),
    sums: Float32Array.from(
      [sumAttention, sumSquaredAttention].flatMap((sums) => slots.map((slot) => sums[slot]!)),
    ),
  };
}

function expectClose(
  got: Float32Array,
  expected: Float32Array,
  tolerance: number,
  what = "entry",
): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [got[i]!, expected[i]!];
    // Written so that NaN fails; infinities must be equal.
    const close = a === b || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b));
    if (!close) expect.fail(`${what} ${i}: ${a}, the reference gives ${b}`);
  }
}
