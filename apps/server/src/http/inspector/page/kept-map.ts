import type { KeptTokens } from "../frame.ts";
import { decodeBytes, drawCells } from "./cells.ts";
import { byId, colour, make, setText } from "./dom.ts";
import { count, percent } from "./format.ts";

/** Steps between "no head keeps it" and "all do". */
const LEVELS = 8;

/** For each position the share of the heads that keep it; of one row, 0 or 1. */
function shares(
  { rows, positions, numLayers, numKvHeads }: KeptTokens,
  row?: number,
): Float32Array {
  const out = new Float32Array(positions);
  if (rows === null) return out.fill(1);
  const bits = decodeBytes(rows);
  const rowBytes = Math.ceil(positions / 8);
  const numRows = numLayers * numKvHeads;
  const chosen = row === undefined ? Array.from({ length: numRows }, (_, i) => i) : [row];
  for (const one of chosen)
    for (let p = 0; p < positions; p++)
      out[p]! += ((bits[one * rowBytes + (p >> 3)]! >> (p & 7)) & 1) / chosen.length;
  return out;
}

/** The prompt with what left greyed: of one head, or of all at once. */
export function drawKept(kept: KeptTokens, row: number | undefined): void {
  const { positions, numKvHeads, texts, known } = kept;
  const share = shares(kept, row);
  const total = share.reduce((sum, one) => sum + one, 0);
  const who =
    row === undefined
      ? "On average a head keeps"
      : `Head ${row % numKvHeads} of layer ${Math.floor(row / numKvHeads)} keeps`;
  const what = `${count(total)} of ${count(positions)} tokens, ${percent(total / Math.max(1, positions))}`;
  const hidden = texts
    ? ""
    : " Prompts are hidden: the server shows them when it is started with --inspector text.";
  setText("kept-note", known ? `${who} ${what}.${hidden}` : "Its positions were forgotten.");
  const text = byId("kept-text");
  const cells = byId<HTMLCanvasElement>("kept-cells");
  text.hidden = texts === null || !known;
  cells.hidden = texts !== null || !known;
  if (!known) return;
  if (texts) text.replaceChildren(...spans(texts, share, kept.promptTokens));
  else drawPositions(cells, share, `${who} ${what}.`);
}

/** Neighbours of the same level are one span. */
function spans(texts: readonly string[], share: Float32Array, promptTokens: number): Node[] {
  const nodes: Node[] = [];
  let level = -1;
  let text = "";
  const flush = () => {
    if (text === "") return;
    const span = make("span", {}, text);
    span.style.setProperty("--level", String(level / LEVELS));
    nodes.push(span);
    text = "";
  };
  texts.forEach((token, position) => {
    if (position === promptTokens) {
      flush();
      nodes.push(make("hr", { "aria-label": "Answer" }));
    }
    // The last token generated was never fed: it has no entry yet.
    const next = Math.round(Math.sqrt(share[position] ?? 1) * LEVELS);
    if (next !== level) flush();
    level = next;
    text += token;
  });
  flush();
  return nodes;
}

function drawPositions(canvas: HTMLCanvasElement, share: Float32Array, label: string): void {
  const [accent, free] = [colour("accent"), colour("free")];
  canvas.setAttribute("aria-label", label);
  drawCells(canvas, share.length, 220, (position) => {
    const kept = share[position]!;
    if (kept === 0 || kept === 1) return kept === 0 ? free : accent;
    return `color-mix(in oklab, ${accent} ${Math.round(kept * 100)}%, ${free})`;
  });
}
