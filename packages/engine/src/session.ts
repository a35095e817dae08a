import { KvCacheError } from "@kvcache/core";
import type { Sequence } from "./sequence.ts";

/** Keeps its cache between turns: what the next prompt has in common with it is not fed again. */
export interface Session {
  readonly id: number;
  /** Tokens that the next turn may build on. */
  readonly cachedTokens: number;
  /** Gives everything back; a running turn is aborted. Idempotent. */
  close(): void;
}

/** The engine's side of a session. */
export class SessionState implements Session {
  readonly id: number;
  sequence: Sequence | undefined;
  busy = false;
  closed = false;
  readonly #onClose: (session: SessionState) => void;

  constructor(id: number, onClose: (session: SessionState) => void) {
    this.id = id;
    this.#onClose = onClose;
  }

  get cachedTokens(): number {
    return this.sequence?.cached ?? 0;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#onClose(this);
  }

  /** Throws `invalid-argument` while a turn is running and `disposed` after `close`. */
  begin(fingerprint: string, cacheSalt: string): void {
    if (this.closed)
      throw new KvCacheError("disposed", `Session ${this.id} was closed.`, { value: this.id });
    if (this.busy)
      throw new KvCacheError("invalid-argument", `Session ${this.id} is in the middle of a turn.`, {
        value: this.id,
        remedy: "Await its result, or use a session of its own for parallel requests.",
      });
    const { plan, cacheSalt: salt } = this.sequence ?? {};
    if (plan && (plan.fingerprint !== fingerprint || salt !== cacheSalt))
      throw new KvCacheError(
        "invalid-argument",
        `Session ${this.id} was begun with another plan or cache salt.`,
        { value: fingerprint, remedy: `Keep to ${plan.fingerprint}, or open another session.` },
      );
    this.busy = true;
  }
}

/**
 * How many tokens of an idle sequence's cache a prompt can build on: their common prefix, less one
 * when that is the whole prompt (somebody must give logits). 0 where cutting the cache there would
 * not give what feeding the prefix gives: behind it something was compressed or left a sliding
 * window; and where a transform renumbered what is kept.
 */
export function reusableTokens(
  sequence: Sequence,
  ids: Int32Array,
  shortestWindow: number,
): number {
  const common = sequence.tokens.commonPrefix(ids);
  const reusable = Math.min(common, sequence.cached, ids.length - 1);
  if (sequence.position !== sequence.cached) return 0;
  if (reusable === sequence.cached) return reusable;
  const cuttable =
    reusable >= (sequence.compressions.at(-1)?.tokens ?? 0) && sequence.cached <= shortestWindow;
  return cuttable ? reusable : 0;
}
