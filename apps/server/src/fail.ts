import { KvCacheError } from "@kvcache/core";
import pc from "picocolors";

/** Exit codes: 0 done · 1 the command failed · 2 the command line was wrong. */
export function fail(error: unknown): never {
  if (error instanceof KvCacheError) process.stderr.write(`${pc.red("error")} ${error.message}\n`);
  else if (process.env.KVCACHE_DEBUG) throw error;
  else
    process.stderr.write(
      `${pc.red("error")} ${(error as Error)?.message ?? String(error)} Set KVCACHE_DEBUG=1 to see where; this one is a bug of ours.\n`,
    );
  process.exit(1);
}

/** Runs a command's action; an error becomes one line and exit status 1. */
export const guarded =
  <A extends unknown[]>(action: (...args: A) => Promise<void>) =>
  async (...args: A): Promise<void> => {
    try {
      await action(...args);
    } catch (error) {
      fail(error);
    }
  };
