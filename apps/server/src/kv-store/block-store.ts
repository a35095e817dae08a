/**
 * Values under names, kept by somebody else: all that a place for prefixes must be able to do. Every
 * method rejects when the place cannot be reached or refuses.
 */
export interface BlockStore {
  /** For people: where it is, without secrets. */
  readonly description: string;
  ping(): Promise<void>;
  /** Whether each name is there. */
  has(names: readonly string[]): Promise<boolean[]>;
  /** Undefined where a name is not there. */
  get(names: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  set(name: string, value: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** The store is there, but has no room for the value: no reason to leave it alone. */
export class StoreFullError extends Error {}
