import { type Backend, KvCacheError } from "@kvcache/core";
import { skipped, type Verdict } from "../vectors/case.ts";
import type { DecoderCase } from "./decoder-case.ts";
import { runEvicted, runForward } from "./run-forward.ts";
import { runSampling } from "./run-sampling.ts";
import { runPipeline, runTokenizer } from "./run-text.ts";

/** Runs one decoder case. A clear refusal of an optional one is a skip. */
export async function runDecoder(test: DecoderCase, backend: Backend): Promise<Verdict> {
  try {
    switch (test.check) {
      case "forward":
        return await runForward(test, backend);
      case "evicted":
        return await runEvicted(test, backend);
      case "tokenizer":
        return await runTokenizer(test);
      case "pipeline":
        return await runPipeline(test, backend);
      case "sampling":
        return runSampling(test);
    }
  } catch (error) {
    if (test.optional && error instanceof KvCacheError && error.code === "unsupported")
      return skipped(error.message);
    throw error;
  }
}
