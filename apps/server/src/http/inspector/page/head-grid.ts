import type { Hello, RequestRow } from "../frame.ts";
import { byId, make, setText } from "./dom.ts";
import { count, percent } from "./format.ts";

/** Wider models have no room for numbers in the cells. */
const MAX_LABELLED_LAYERS = 16;

/**
 * The heat map of what each KV head keeps: a column a layer, a line a head. Arrow keys move, Enter
 * chooses; `onSelect` hears the row, layer × numKvHeads + head.
 */
export function createHeadGrid({ numLayers, numKvHeads }: Hello, onSelect: (row: number) => void) {
  const cells: HTMLTableCellElement[] = [];
  const head = make("tr", {}, make("td", { "aria-hidden": "true", hidden: "" }));
  head.replaceChildren(make("th", { scope: "col" }, "layer"));
  for (let layer = 0; layer < numLayers; layer++)
    head.append(make("th", { scope: "col" }, `${layer}`));
  const body = make("tbody");
  for (let kvHead = 0; kvHead < numKvHeads; kvHead++) {
    const line = make("tr", {}, make("th", { scope: "row" }, `head ${kvHead}`));
    for (let layer = 0; layer < numLayers; layer++) {
      const row = layer * numKvHeads + kvHead;
      const cell = make("td", { role: "gridcell", tabindex: row === 0 ? "0" : "-1" });
      cell.addEventListener("click", () => onSelect(row));
      cell.addEventListener("keydown", (event) => onKey(event, layer, kvHead));
      cells[row] = cell;
      line.append(cell);
    }
    body.append(line);
  }
  const name = { role: "grid", "aria-label": "Tokens kept by layer and KV head" };
  byId("heads").replaceChildren(make("table", name, make("thead", {}, head), body));

  function onKey(event: KeyboardEvent, layer: number, kvHead: number): void {
    const [dx, dy] = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    }[event.key] ?? [0, 0];
    if (event.key === "Enter" || event.key === " ") onSelect(layer * numKvHeads + kvHead);
    else if (dx === 0 && dy === 0) return;
    event.preventDefault();
    const x = layer + dx!;
    const y = kvHead + dy!;
    if (x < 0 || x >= numLayers || y < 0 || y >= numKvHeads) return;
    for (const cell of cells) cell.tabIndex = -1;
    const next = cells[x * numKvHeads + y]!;
    next.tabIndex = 0;
    next.focus();
  }

  return {
    show({ headTokens, headTokensSeen }: RequestRow, selected: number | undefined): void {
      const most = Math.max(1, ...(headTokens ?? [1]));
      cells.forEach((cell, row) => {
        const kept = headTokens?.[row] ?? headTokensSeen;
        const heat = headTokens ? kept / most : 1;
        const share = headTokens ? kept / headTokensSeen : 1;
        cell.style.setProperty("--heat", heat.toFixed(3));
        cell.dataset.heat = heat > 0.8 ? "2" : heat > 0.5 ? "1" : "0";
        const label = numLayers <= MAX_LABELLED_LAYERS ? percent(share).replace(" %", "") : "";
        if (cell.textContent !== label) cell.textContent = label;
        const place = `layer ${Math.floor(row / numKvHeads)}, head ${row % numKvHeads}`;
        const keeps = headTokens ? `${count(kept)} tokens, ${percent(share)}` : "everything";
        cell.setAttribute("aria-label", `${place}: ${keeps}`);
        cell.title = `${place}: ${keeps}`;
        cell.setAttribute("aria-selected", String(row === selected));
      });
      const seen = `% of ${count(headTokensSeen)} tokens, after the last compression`;
      setText("heads-note", headTokens ? seen : "nothing was evicted");
      byId("heads-scale").hidden = !headTokens;
      setText("heads-most", `${count(most)} tokens`);
    },
  };
}
