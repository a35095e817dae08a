import type { SwappedBytes, SwapSpace } from "@kvcache/core";

/** What a sequence swapped out needs to come back. */
export interface SwappedOut {
  readonly bytes: SwappedBytes;
  /** Tokens per row, which say how many blocks it takes: [numRows]. */
  readonly lengths: Uint32Array;
}

/** Keeps swapped sequences in memory, up to so many bytes. */
export function createMemorySwap(maxBytes: number): SwapSpace {
  let bytes = 0;
  return Object.freeze({
    maxBytes,
    get bytes() {
      return bytes;
    },
    store(content: Uint8Array): SwappedBytes | undefined {
      const { byteLength } = content;
      if (bytes + byteLength > maxBytes) return undefined;
      bytes += byteLength;
      let held: Uint8Array | undefined = content;
      return {
        read: () => held!,
        release() {
          if (held) bytes -= byteLength;
          held = undefined;
        },
      };
    },
  });
}
