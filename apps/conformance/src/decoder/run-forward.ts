import type { Backend } from "@kvcache/core";
import { openModel } from "../open-model.ts";
import { rowPositions, slotsOfPositions } from "../row-positions.ts";
import type { Verdict } from "../vectors/case.ts";
import { first } from "../vectors/compare.ts";
import { close, same } from "./compare.ts";
import { type DecoderCase, tensor } from "./decoder-case.ts";

const room = 64;

/** Logits of the prompt in one call, then token by token, and the greedy continuation. */
export async function runForward(test: DecoderCase, backend: Backend): Promise<Verdict> {
  const inputIds = tensor(test, "inputIds", "i32");
  const expected = {
    logits: tensor(test, "logits", "f32"),
    next: tensor(test, "nextLogits", "f32"),
  };
  const greedy = tensor(test, "greedyIds", "i32");
  const { runner, close: end } = await openModel(test.folder, backend, inputIds.length + room);
  try {
    const forced = runner.open();
    const logits = await forced.prefill(inputIds, "all");
    const next = await forced.feed(tensor(test, "nextIds", "i32"));
    const free = runner.open();
    await free.prefill(inputIds);
    const ids = await free.greedy(greedy.length);
    return first(
      close("logits", logits, expected.logits, test.tolerance.logits ?? 1e-3),
      close("nextLogits", next, expected.next, test.tolerance.nextLogits ?? 1e-3),
      same("greedyIds", ids, greedy),
    );
  } finally {
    await end();
  }
}

/** The same after every KV head kept only its own slots; positions stay true. */
export async function runEvicted(test: DecoderCase, backend: Backend): Promise<Verdict> {
  const inputIds = tensor(test, "inputIds", "i32");
  const greedy = tensor(test, "greedyIds", "i32");
  const indptr = tensor(test, "indptr", "i32");
  const positions = tensor(test, "indices", "i32");
  const { runner, close: end } = await openModel(test.folder, backend, inputIds.length + room);
  try {
    const evicted = async () => {
      const sequence = runner.open();
      const logits = await sequence.prefill(inputIds);
      const rows = await rowPositions(runner.runtime.cache, sequence.slot);
      const keep = slotsOfPositions(rows, indptr, positions);
      await sequence.keep(keep.indptr, keep.indices);
      return { sequence, logits };
    };
    const { sequence, logits } = await evicted();
    const next = await sequence.feed(tensor(test, "nextIds", "i32"));
    const { sequence: free } = await evicted();
    const ids = await free.greedy(greedy.length);
    return first(
      close("logits", logits, tensor(test, "logits", "f32"), test.tolerance.logits ?? 1e-3),
      close(
        "nextLogits",
        next,
        tensor(test, "nextLogits", "f32"),
        test.tolerance.nextLogits ?? 1e-3,
      ),
      same("greedyIds", ids, greedy),
    );
  } finally {
    await end();
  }
}
