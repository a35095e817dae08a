import type { PrefixKey } from "@kvcache/core";

/** Token ids as text, two code units each: equal texts are equal tokens. */
function textOf(ids: Int32Array): string {
  const units = new Uint16Array(ids.slice().buffer);
  let text = "";
  for (let i = 0; i < units.length; i += 4096)
    text += String.fromCharCode(...units.subarray(i, i + 4096));
  return text;
}

/** Names tokens start … stop − 1 among groups with the same predecessor. */
export const groupName = (key: PrefixKey, start: number, stop: number): string =>
  `group:${textOf(key.tokenIds.subarray(start, stop))}`;

/** Names a whole prompt under a plan. */
export const compressedName = (key: PrefixKey, planFingerprint: string): string =>
  `compressed:${planFingerprint.length}:${planFingerprint}${textOf(key.tokenIds)}`;
