import { cellOwner, type Frame, type Hello } from "../frame.ts";
import { decodeBytes, drawCells } from "./cells.ts";
import { byId, colour, setText } from "./dom.ts";
import { count, percent } from "./format.ts";

/** The grid of blocks: the selected request in the accent colour, all others in greys. */
export function drawBlocks(hello: Hello, frame: Frame, selected: number | undefined): void {
  const { blocksPerCell, numBlocks, blockSize } = hello;
  const cells = decodeBytes(frame.cells);
  const chosen = selected === undefined ? -1 : frame.owners.indexOf(selected);
  const mine = chosen < 0 ? -1 : cellOwner.firstRequest + chosen;
  const colours = {
    free: colour("free"),
    prefix: colour("prefix"),
    shared: colour("shared"),
    other: colour("other"),
    accent: colour("accent"),
  };
  const canvas = byId<HTMLCanvasElement>("blocks");
  drawCells(canvas, cells.length, 300, (cell) => {
    const owner = cells[cell]!;
    if (owner === mine) return colours.accent;
    if (owner === cellOwner.free) return colours.free;
    if (owner === cellOwner.prefix) return colours.prefix;
    return owner === cellOwner.shared ? colours.shared : colours.other;
  });
  const own = cells.reduce((sum, owner) => sum + (owner === mine ? 1 : 0), 0) * blocksPerCell;
  const of = `${count(frame.heldBlocks)} of ${count(numBlocks)} blocks held`;
  const rest = `${count(frame.reclaimableBlocks)} in the prefix cache only`;
  const ours = mine < 0 ? "" : `, about ${count(own)} of them by request ${selected}`;
  canvas.setAttribute("aria-label", `${of}${ours}; ${rest}.`);
  const each = blocksPerCell > 1 ? `1 square = ${blocksPerCell} blocks` : "1 square = 1 block";
  setText("blocks-scale", `${each} of ${blockSize} tokens`);
  setText("held", count(frame.heldBlocks));
  setText("held-of", `of ${count(numBlocks)}, ${percent(frame.heldBlocks / numBlocks)}`);
  setText("legend-selected", chosen < 0 ? "selected request" : `request ${selected}`);
}
