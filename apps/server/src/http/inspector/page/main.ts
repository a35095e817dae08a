import type { Frame, Hello, KeptTokens } from "../frame.ts";
import { drawBlocks } from "./block-grid.ts";
import { byId, make, setText } from "./dom.ts";
import { fetchKept, openFeed, saveKey } from "./feed.ts";
import { bytes, rate, short } from "./format.ts";
import { createHeadGrid } from "./head-grid.ts";
import { drawKept } from "./kept-map.ts";
import { createRequestTable } from "./request-table.ts";
import { createTimelineCharts, type TimelineCharts } from "./timeline-charts.ts";

let hello: Hello | undefined;
let frame: Frame | undefined;
let charts: TimelineCharts | undefined;
let heads: ReturnType<typeof createHeadGrid> | undefined;
/** A request that a person chose; until then the newest is shown. */
let chosen: number | undefined;
/** Layer × numKvHeads + head; undefined: all heads. */
let headRow: number | undefined;
let kept: KeptTokens | undefined;
let keptVersion = "";
let closeFeed = () => {};

const table = createRequestTable((id) => {
  chosen = id;
  show();
});

const selected = (): number | undefined =>
  frame?.requests.find(({ id }) => id === chosen)?.id ?? frame?.requests[0]?.id;

function show(): void {
  if (!hello || !frame) return;
  const id = selected();
  const { sample, running, waiting } = frame;
  setText("memory", bytes(sample.heldBytes));
  setText("memory-of", `of ${bytes(hello.capacityBytes)}`);
  setText("running", String(running));
  setText("waiting", `${waiting} waiting`);
  setText("rate", rate(sample.generationRate));
  setText("evicted", short(frame.totalEvicted));
  drawBlocks(hello, frame, id);
  charts?.add(sample);
  table.show(frame.requests, id);
  const request = frame.requests.find((one) => one.id === id);
  byId("heads-panel").hidden = request === undefined;
  byId("kept-panel").hidden = request === undefined;
  if (!request) return;
  setText("heads-title", `Head budgets of request ${id}`);
  setText("kept-title", `Tokens that request ${id} keeps`);
  heads?.show(request, headRow);
  byId("all-heads").setAttribute("aria-pressed", String(headRow === undefined));
  // Contents change with every compression, and slowly while tokens are added.
  const pace = Math.floor(request.generatedTokens / 24);
  const version = `${id} ${request.state} ${request.compressions} ${pace}`;
  if (version !== keptVersion) readKept(request.id, version);
}

async function readKept(id: number, version: string): Promise<void> {
  keptVersion = version;
  const found = await fetchKept(id, hello!.model);
  if (keptVersion !== version || !found) return;
  kept = found;
  drawKept(kept, headRow);
}

function chooseHead(row: number | undefined): void {
  headRow = row === headRow ? undefined : row;
  if (kept) drawKept(kept, headRow);
  show();
}

function start(model?: string): void {
  closeFeed();
  frame = undefined;
  chosen = undefined;
  headRow = undefined;
  keptVersion = "";
  closeFeed = openFeed(model, {
    onHello(next) {
      hello = next;
      byId("main").ariaBusy = "false";
      const picker = byId<HTMLSelectElement>("model");
      picker.replaceChildren(...next.models.map((name) => make("option", {}, name)));
      picker.value = next.model;
      charts = createTimelineCharts(next);
      heads = createHeadGrid(next, chooseHead);
      setText("curl", exampleOf(next.model));
    },
    onFrame(next) {
      frame = next;
      show();
    },
    onState(state) {
      byId("status").dataset.state = state;
      setText("status", state === "live" ? "Live" : "Connecting again");
    },
    onKey() {
      byId("key").hidden = false;
      byId("main").hidden = true;
      setText("status", "Locked");
      byId("key-text").focus();
    },
  });
}

const exampleOf = (model: string): string => `curl ${location.origin}/v1/chat/completions \\
  -H 'content-type: application/json' -d '{
    "model": ${JSON.stringify(model)},
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "kv": {"policy": "snap-kv", "budget": {"ratio": 0.25}}}'`;

byId<HTMLSelectElement>("model").addEventListener("change", ({ target }) =>
  start((target as HTMLSelectElement).value),
);
byId("all-heads").addEventListener("click", () => chooseHead(undefined));
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("curl").textContent!);
  setText("copy", "Copied");
});
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  saveKey(byId<HTMLInputElement>("key-text").value);
  byId("key").hidden = true;
  byId("main").hidden = false;
  start();
});

function redraw(fresh: boolean): void {
  charts?.redraw(fresh);
  if (!fresh) return;
  show();
  if (kept) drawKept(kept, headRow);
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(true));
let resized: ReturnType<typeof setTimeout> | undefined;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => redraw(true), 120);
});
setInterval(() => redraw(false), 1000);
start();
