/**
 * The tokens of a sequence by position, with the RoPE length that each was (or will be) fed with:
 * the prompt's length for prompt tokens, position + 1 for generated ones. Feeding the log again
 * therefore gives the same keys and values.
 */
export class TokenLog {
  #ids = new Int32Array(64);
  #ropeLengths = new Int32Array(64);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** A view that the next `push` may invalidate: [length]. */
  get ids(): Int32Array {
    return this.#ids.subarray(0, this.#length);
  }

  /** A view that the next `push` may invalidate: [length]. */
  get ropeLengths(): Int32Array {
    return this.#ropeLengths.subarray(0, this.#length);
  }

  /** Appends tokens that one call feeds, or one that was sampled. */
  append(ids: ArrayLike<number>, ropeLength: number): void {
    this.#grow(this.#length + ids.length);
    this.#ids.set(ids, this.#length);
    this.#ropeLengths.fill(ropeLength, this.#length, this.#length + ids.length);
    this.#length += ids.length;
  }

  push(id: number, ropeLength: number): void {
    this.#grow(this.#length + 1);
    this.#ids[this.#length] = id;
    this.#ropeLengths[this.#length++] = ropeLength;
  }

  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  copy(): TokenLog {
    const log = new TokenLog();
    log.#ids = this.#ids.slice();
    log.#ropeLengths = this.#ropeLengths.slice();
    log.#length = this.#length;
    return log;
  }

  /** Tokens that the log and `ids` have in common at their start. */
  commonPrefix(ids: ArrayLike<number>): number {
    const end = Math.min(this.#length, ids.length);
    let i = 0;
    while (i < end && this.#ids[i] === ids[i]) i++;
    return i;
  }

  #grow(needed: number): void {
    if (needed <= this.#ids.length) return;
    const capacity = Math.max(needed, this.#ids.length * 2);
    const ids = new Int32Array(capacity);
    const ropeLengths = new Int32Array(capacity);
    ids.set(this.#ids);
    ropeLengths.set(this.#ropeLengths);
    this.#ids = ids;
    this.#ropeLengths = ropeLengths;
  }
}
