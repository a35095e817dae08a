import { KvCacheError } from "@kvcache/core";
import pc from "picocolors";

/** The command line is wrong: a bad plan, budget, option or prompt. */
export class UsageError extends Error {}

/** Runs what only reads the command line: whatever it throws is the command line's fault. */
export function fromCommandLine<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof KvCacheError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
}

/** Exit codes: 0 done · 1 the command failed · 2 the command line was wrong · 130 interrupted. */
export function fail(error: unknown): never {
  if (error instanceof KvCacheError || error instanceof UsageError)
    process.stderr.write(`${pc.red("error")} ${error.message}\n`);
  else if (process.env.KVCACHE_DEBUG) throw error;
  else {
    const message = (error as Error)?.message ?? String(error);
    const sentence = /[.!?]$/.test(message) ? message : `${message}.`;
    process.stderr.write(
      `${pc.red("error")} ${sentence} This is a bug of ours; KVCACHE_DEBUG=1 shows where.\n`,
    );
  }
  process.exit(error instanceof UsageError ? 2 : 1);
}

/** Runs a command's action; an error becomes one line and an exit status. */
export const guarded =
  <A extends unknown[]>(action: (...args: A) => Promise<void>) =>
  async (...args: A): Promise<void> => {
    try {
      await action(...args);
    } catch (error) {
      fail(error);
    }
  };
