import { explainFailure, type Remedy, remedyLabels } from "../explain-failure.ts";
import type { Device, Failure } from "../protocol.ts";
import { button, byId } from "./element.ts";
import { formatBytes } from "./quantities.ts";

const notice = byId("notice");

function fill(isProblem: boolean, title: string, ...rest: (string | HTMLElement)[]): void {
  const head = document.createElement("h2");
  head.textContent = title;
  const body = rest.map((part) => {
    if (typeof part !== "string") return part;
    const paragraph = document.createElement("p");
    paragraph.textContent = part;
    return paragraph;
  });
  notice.classList.toggle("problem", isProblem);
  notice.replaceChildren(head, ...body);
  notice.hidden = false;
}

export const hideNotice = (): void => {
  notice.hidden = true;
};

/** How far opening a model is; the bar moves in place, so that it is announced once. */
export function showProgress(stage: "download" | "load", done: number, total: number): void {
  const title = stage === "download" ? "Fetching the model" : "Moving the model to the device";
  if (notice.dataset.stage !== stage || notice.hidden || notice.classList.contains("problem")) {
    const bar = document.createElement("div");
    bar.className = "progress";
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-label", title);
    bar.append(document.createElement("i"));
    const amount = document.createElement("p");
    amount.className = "amount";
    fill(false, title, amount, bar);
    notice.dataset.stage = stage;
  }
  const bar = notice.querySelector<HTMLElement>(".progress")!;
  const fraction = total > 0 ? done / total : 0;
  bar.style.setProperty("--done", fraction.toFixed(3));
  bar.setAttribute("aria-valuenow", String(Math.round(100 * fraction)));
  notice.querySelector(".amount")!.textContent =
    stage === "download"
      ? `${formatBytes(done)}${total > 0 ? ` of ${formatBytes(total)}` : ""}`
      : `${done} of ${total} tensors`;
}

export function showFailure(
  failure: Failure,
  device: Device,
  onRemedy: (remedy: Remedy) => void,
): void {
  const { title, text, remedies } = explainFailure(failure, device);
  const detail = document.createElement("p");
  detail.className = "detail";
  detail.textContent = failure.message;
  const actions = document.createElement("div");
  actions.className = "actions";
  actions.append(...remedies.map((remedy) => button(remedyLabels[remedy], () => onRemedy(remedy))));
  fill(true, title, text, detail, actions);
  delete notice.dataset.stage;
}
