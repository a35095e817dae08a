import { demoQuestions, demoText, modelPath } from "virtual:shipped";
import { startEngine } from "./engine-client.ts";
import type { Remedy } from "./explain-failure.ts";
import { startModelPanel } from "./model-panel.ts";
import type { Device, ModelSource, OpenedModel, Reply, SideName } from "./protocol.ts";
import { startQuestionForm } from "./question-form.ts";
import { byId } from "./view/element.ts";
import { hideNotice, showFailure, showProgress } from "./view/notice.ts";
import { formatBytes, formatCount } from "./view/quantities.ts";
import { createSideCard, type SideCard } from "./view/side-card.ts";
import { startTheme } from "./view/theme.ts";

const tiny: ModelSource = {
  kind: "url",
  url: new URL(modelPath, location.href).href,
  name: "kvcache-tiny",
};

let source: ModelSource = tiny;
let device: Device = "gpu";
let opened: OpenedModel | undefined;
let answers: readonly string[] = [];

const cards: Readonly<Record<SideName, SideCard>> = {
  a: createSideCard("a", { policy: "full", ratio: 1 }),
  b: createSideCard("b", { policy: "snap-kv", ratio: 0.25 }),
};
byId("sides").append(cards.a.element, cards.b.element);

const engine = startEngine(take);
const form = startQuestionForm({
  engine,
  demoText,
  demoQuestions,
  onCompare(question) {
    answers = question.answers;
    hideNotice();
    engine.send({
      type: "compare",
      ...question,
      sides: { a: cards.a.plan(), b: cards.b.plan() },
    });
  },
  onStop: () => engine.send({ type: "stop" }),
});
const panel = startModelPanel({
  tiny,
  onOpen: (next) => open(next, "gpu"),
  onContext: () => open(source, device),
  onForget: () => engine.send({ type: "forget" }),
});

function open(next: ModelSource, on: Device): void {
  source = next;
  device = on;
  opened = undefined;
  form.disable("Opening the model …");
  byId("device").textContent = "";
  document.body.dataset.state = "opening";
  engine.send({ type: "open", source, device, contextTokens: panel.contextTokens() });
}

function remedy(chosen: Remedy): void {
  hideNotice();
  if (chosen === "smaller") panel.halveContext();
  if (chosen === "tiny") open(tiny, device);
  else open(source, chosen === "cpu" ? "cpu" : device);
}

const emulation: Readonly<Record<OpenedModel["emulated"], string>> = {
  none: "",
  "software-gpu": " · a GPU in software: right, but slow",
  cpu: " · no GPU: right, but slow",
};

function take(reply: Reply): void {
  switch (reply.type) {
    case "progress":
      showProgress(reply.stage, reply.done, reply.total);
      return;
    case "opened": {
      opened = reply.model;
      const { name, device: text, emulated } = opened;
      hideNotice();
      byId("device").textContent = `${text}${emulation[emulated]}`;
      byId("device").classList.toggle("emulated", emulated !== "none");
      byId("model-shown").textContent =
        `${name}, ${formatBytes(opened.cacheBytes)} of cache${opened.stored ? ", stored for offline use" : ""}`;
      byId("cache-shown").textContent =
        `${formatBytes(opened.tokenBytes)} a token, room for ${formatCount(opened.contextTokens)} tokens and an answer to a second question.`;
      for (const card of Object.values(cards)) card.setShape(opened);
      document.body.dataset.state = "ready";
      form.enable(opened);
      return;
    }
    case "open-failed":
      document.body.dataset.state = "failed";
      form.disable("No model is open.");
      showFailure(reply.failure, device, remedy);
      return;
    case "failed":
      form.ready("");
      showFailure(reply.failure, device, remedy);
      return;
    case "prompt":
      for (const card of Object.values(cards)) card.begin(reply.tokens, answers);
      return;
    case "side": {
      cards[reply.side].take(reply.event, device);
      const { event } = reply;
      if (event.type === "failed" && event.failure.code === "device-lost")
        showFailure(event.failure, device, remedy);
      return;
    }
    case "done": {
      const { buffers, bytes } = reply.memory;
      document.body.dataset.buffers = String(buffers);
      document.body.dataset.bytes = String(bytes);
      form.ready(buffers > 0 ? `GPU: ${formatBytes(bytes)} in ${buffers} buffers` : "");
      return;
    }
    case "cut":
      return;
  }
}

startTheme();
open(tiny, "gpu");
if (import.meta.env.PROD && "serviceWorker" in navigator)
  navigator.serviceWorker.register("./service-worker.js").catch(() => {
    // Without it the page still works, online.
  });
