import { KvCacheError } from "@kvcache/core";

/** The error of a request that ran out of time. */
export const deadlineExceeded = () =>
  new KvCacheError("deadline-exceeded", "The request did not end within its time limit.", {
    remedy: "Allow more time, ask for fewer tokens, or ask again when less is going on.",
  });
