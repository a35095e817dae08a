import type { KvShape } from "@kvcache/core";

const shades = [" ", "░", "▒", "▓", "█"];

/**
 * Tokens kept per (layer, KV head) as text: one column a layer, one line a head, darker = more.
 * `counts` is [numLayers × numKvHeads], `full` the tokens seen.
 */
export function heatMap(counts: ArrayLike<number>, shape: KvShape, full: number): string[] {
  const lines: string[] = [];
  for (let head = 0; head < shape.numKvHeads; head++) {
    let line = `head ${head} `;
    for (let layer = 0; layer < shape.numLayers; layer++) {
      const kept = counts[layer * shape.numKvHeads + head]! / full;
      const shade =
        shades[Math.min(shades.length - 1, Math.max(1, Math.ceil(Math.sqrt(kept) * 4)))]!;
      line += `${shade}${shade}${String(Math.round(kept * 100)).padStart(4)}% `;
    }
    lines.push(line.trimEnd());
  }
  return lines;
}
