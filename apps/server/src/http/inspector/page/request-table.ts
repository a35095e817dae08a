import type { RequestRow } from "../frame.ts";
import { byId, make, setText } from "./dom.ts";
import { bytes, count, duration, percent, rate } from "./format.ts";

/** One row a request, newest first; `onSelect` hears which one a person chose. */
export function createRequestTable(onSelect: (id: number) => void) {
  const body = byId<HTMLTableSectionElement>("rows");
  const known = new Map<number, HTMLTableRowElement>();

  function rowOf(id: number): HTMLTableRowElement {
    const row = known.get(id) ?? make("tr");
    if (known.has(id)) return row;
    const button = make("button", { type: "button", "aria-label": `Request ${id}` }, `${id}`);
    row.append(make("th", { scope: "row" }, button));
    for (let cell = 1; cell < 10; cell++) row.append(make("td"));
    row.addEventListener("click", () => onSelect(id));
    known.set(id, row);
    return row;
  }

  function fill(row: HTMLTableRowElement, request: RequestRow): void {
    const { state, policy, choices } = request;
    const texts = [
      state,
      choices > 1 ? `${policy} × ${choices}` : policy,
      undefined,
      request.bytes > 0 ? bytes(request.bytes) : `${bytes(request.peakBytes)} peak`,
      count(request.promptTokens),
      count(request.cachedTokens),
      count(request.generatedTokens),
      request.ttft === null ? "–" : duration(request.ttft),
      request.tokensPerSecond === null ? "–" : rate(request.tokensPerSecond),
    ];
    const [, stateCell, , share, memory, , cached] = row.cells as unknown as HTMLTableCellElement[];
    texts.forEach((text, i) => {
      const cell = row.cells[i + 1]!;
      if (text !== undefined && cell.textContent !== text) cell.textContent = text;
      cell.classList.toggle("n", i > 2);
    });
    memory!.classList.toggle("zero", request.bytes === 0);
    cached!.classList.toggle("zero", request.cachedTokens === 0);
    stateCell!.dataset.state = state;
    if (!share!.firstChild)
      share!.append(make("span", { class: "share" }, make("i"), make("span")));
    const bar = share!.firstElementChild as HTMLElement;
    bar.style.setProperty("--share", String(request.kept));
    const label = percent(request.kept);
    if (bar.lastChild!.textContent !== label) bar.lastChild!.textContent = label;
  }

  return {
    show(requests: readonly RequestRow[], selected: number | undefined): void {
      byId("empty").hidden = requests.length > 0;
      byId("table").hidden = requests.length === 0;
      setText(
        "requests-note",
        requests.length === 0 ? "" : `last ${requests.length}, newest first`,
      );
      const present = new Set(requests.map(({ id }) => id));
      for (const [id, row] of known) {
        if (present.has(id)) continue;
        row.remove();
        known.delete(id);
      }
      requests.forEach((request, i) => {
        const row = rowOf(request.id);
        fill(row, request);
        row.toggleAttribute("data-selected", request.id === selected);
        const button = row.querySelector("button")!;
        button.setAttribute("aria-pressed", String(request.id === selected));
        if (body.rows[i] !== row) body.insertBefore(row, body.rows[i] ?? null);
      });
    },
  };
}
