const GAP = 1;
const MIN_SIZE = 3;
const MAX_SIZE = 14;

/** Draws one square a cell, in reading order, as large as the height allows. */
export function drawCells(
  canvas: HTMLCanvasElement,
  numCells: number,
  height: number,
  colourOf: (cell: number) => string,
): void {
  const width = canvas.clientWidth;
  if (width === 0) return;
  const columns = Math.ceil(
    Math.max(width / MAX_SIZE, Math.min(width / MIN_SIZE, Math.sqrt((numCells * width) / height))),
  );
  const size = width / columns;
  const rows = Math.ceil(numCells / columns);
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(rows * size * scale);
  canvas.style.height = `${rows * size}px`;
  const context = canvas.getContext("2d")!;
  // Edges on whole pixels keep the gaps even.
  const edge = (at: number) => Math.round(at * size * scale);
  const gap = Math.round(GAP * scale);
  for (let cell = 0; cell < numCells; cell++) {
    context.fillStyle = colourOf(cell);
    const [x, y] = [cell % columns, Math.floor(cell / columns)];
    const [left, top] = [edge(x), edge(y)];
    context.fillRect(left, top, edge(x + 1) - left - gap, edge(y + 1) - top - gap);
  }
}

export const decodeBytes = (base64: string): Uint8Array =>
  Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
