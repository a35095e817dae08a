import { byteOfToken } from "./byte-fallback.ts";
import { CHAR_TO_BYTE } from "./byte-level-alphabet.ts";
import type { DecoderStage } from "./decoder-stage.ts";

const encoder = new TextEncoder();
const REPLACEMENT = "\ufffd";

/**
 * Byte-level tokens to text. A token with a character outside the alphabet stands for its own
 * UTF-8. Malformed sequences become one U+FFFD per maximal subpart; unfinished ones are held back.
 */
export function byteLevelStage(): DecoderStage {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return {
    push: (token) => [decoder.decode(bytesOfByteLevel(token), { stream: true })],
    flush: () => [decoder.decode()],
  };
}

/** The bytes that a byte-level token spells. */
export function bytesOfByteLevel(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = CHAR_TO_BYTE.get(token.charCodeAt(i));
    if (byte === undefined) return encoder.encode(token);
    bytes[i] = byte;
  }
  return bytes;
}

/**
 * Tokens such as `<0xE4>` to the text of their bytes. A run of them that is not valid UTF-8 as a
 * whole becomes one U+FFFD per byte, even for whole characters in it. With `eager`, a character is
 * emitted with its last byte; only then, should the run turn out invalid later, does the stream
 * keep a character that the whole text would not have.
 */
export function byteFallbackStage(eager: boolean): DecoderStage {
  let run: number[] = [];
  let valid = true;

  function take(): string[] {
    const text = valid && run.length > 0 ? strictUtf8(run) : undefined;
    const out = text === undefined ? run.map(() => REPLACEMENT) : [text];
    run = [];
    return out;
  }

  return {
    push(token) {
      const byte = byteOfToken(token);
      if (byte === undefined) {
        const before = take();
        valid = true;
        return [...before, token];
      }
      run.push(byte);
      if (!eager || !valid) return [];
      if (strictUtf8(run) !== undefined) return take();
      // Once four bytes make no character, nothing that follows in this run can repair it.
      valid = run.length < 4;
      return [];
    },
    flush: take,
  };
}

function strictUtf8(bytes: readonly number[]): string | undefined {
  try {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return decoder.decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
}
