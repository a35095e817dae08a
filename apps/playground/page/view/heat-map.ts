import { formatCount } from "./quantities.ts";

export interface HeatMapShape {
  readonly numLayers: number;
  readonly numKvHeads: number;
}

export interface HeatMap {
  /** Tokens of each row (layer × head), and how many a row could have. */
  show(lengths: Uint32Array, most: number): void;
  select(row: number | undefined): void;
}

/** Above this many layers, cells carry no numbers. */
const DENSE_LAYERS = 16;

/**
 * One cell a head, layers from left to right. Cells are buttons in one tab stop: arrows move among
 * them, Enter chooses a head.
 */
export function createHeatMap(
  root: HTMLElement,
  { numLayers, numKvHeads }: HeatMapShape,
  onSelect: (row: number | undefined) => void,
): HeatMap {
  let selected: number | undefined;
  const dense = numLayers > DENSE_LAYERS;
  root.classList.toggle("dense", dense);
  root.style.setProperty("--layers", String(numLayers));
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Tokens kept by each head; choose one to see which");

  const cells: HTMLButtonElement[] = [];
  const axis = (text: string, kind: string) => {
    const label = document.createElement("span");
    label.className = `axis ${kind}`;
    label.textContent = text;
    label.setAttribute("aria-hidden", "true");
    return label;
  };
  const children: HTMLElement[] = [axis("layer", "head")];
  for (let layer = 0; layer < numLayers; layer++) {
    const told = !dense || layer % 8 === 0;
    children.push(axis(told ? String(layer + 1) : "", "layer"));
  }
  for (let head = 0; head < numKvHeads; head++) {
    children.push(axis(dense && numKvHeads > 8 ? String(head + 1) : `head ${head + 1}`, "head"));
    for (let layer = 0; layer < numLayers; layer++) {
      const row = layer * numKvHeads + head;
      const cell = document.createElement("button");
      cell.type = "button";
      cell.tabIndex = row === 0 ? 0 : -1;
      cell.setAttribute("aria-pressed", "false");
      cell.setAttribute("aria-label", `Layer ${layer + 1}, head ${head + 1}`);
      cell.addEventListener("click", () => onSelect(selected === row ? undefined : row));
      cell.addEventListener("focus", () => {
        for (const other of cells) other.tabIndex = -1;
        cell.tabIndex = 0;
      });
      cells[row] = cell;
      children.push(cell);
    }
  }
  root.replaceChildren(...children);

  root.addEventListener("keydown", (event) => {
    const row = cells.indexOf(event.target as HTMLButtonElement);
    const step = { ArrowLeft: -numKvHeads, ArrowRight: numKvHeads, ArrowUp: -1, ArrowDown: 1 }[
      event.key
    ];
    if (row < 0 || step === undefined) return;
    const leavesColumn =
      Math.abs(step) === 1 &&
      Math.floor((row + step) / numKvHeads) !== Math.floor(row / numKvHeads);
    if (!leavesColumn) cells[row + step]?.focus();
    event.preventDefault();
  });

  return {
    show(lengths, most) {
      for (const [row, cell] of cells.entries()) {
        const heat = most > 0 ? Math.min(1, lengths[row]! / most) : 0;
        cell.style.setProperty("--heat", heat.toFixed(3));
        cell.classList.toggle("hot", heat > 0.55);
        const count = formatCount(lengths[row]!);
        if (!dense) cell.textContent = count;
        const layer = Math.floor(row / numKvHeads) + 1;
        const name = `Layer ${layer}, head ${(row % numKvHeads) + 1}: ${count} tokens kept`;
        cell.setAttribute("aria-label", name);
        cell.title = name;
      }
    },
    select(row) {
      selected = row;
      for (const [at, cell] of cells.entries())
        cell.setAttribute("aria-pressed", String(at === row));
    },
  };
}
