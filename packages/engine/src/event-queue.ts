/**
 * A queue between one producer that never waits and one consumer that iterates. Ends with `close`
 * or `fail`; what was pushed before is still delivered.
 */
export class EventQueue<E> implements AsyncIterable<E> {
  readonly #events: E[] = [];
  readonly #onReturn: () => void;
  #ended: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** `onReturn` is called when the consumer stops before the end. */
  constructor(onReturn: () => void) {
    this.#onReturn = onReturn;
  }

  push(event: E): void {
    if (this.#ended) return;
    this.#events.push(event);
    this.#wake?.();
  }

  close(): void {
    this.#ended ??= {};
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#ended ??= { error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<E, void, undefined> {
    try {
      for (;;) {
        while (this.#events.length > 0) yield this.#events.shift()!;
        if (this.#ended) {
          if ("error" in this.#ended) throw this.#ended.error;
          return;
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      if (!this.#ended) this.#onReturn();
    }
  }
}
