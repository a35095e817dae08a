import { explainFailure } from "../explain-failure.ts";
import { policyChoices } from "../policy-choices.ts";
import type { Device, SideEvent, SideName, SidePlan, SideResult } from "../protocol.ts";
import { within } from "./element.ts";
import { createHeatMap, type HeatMap, type HeatMapShape } from "./heat-map.ts";
import { createKeptText, type KeptText } from "./kept-text.ts";
import { formatBytes, formatCount, formatSeconds } from "./quantities.ts";

export interface SideCard {
  readonly element: HTMLElement;
  plan(): SidePlan;
  /** Takes the shape of a model that was opened. */
  setShape(shape: HeatMapShape): void;
  /** A comparison begins: the prompt, and answers that are known to be right. */
  begin(prompt: readonly string[], answers: readonly string[]): void;
  take(event: SideEvent, device: Device): void;
}

export function createSideCard(side: SideName, initial: SidePlan): SideCard {
  const template = document.getElementById("side-template") as HTMLTemplateElement;
  const element = within(template.content.cloneNode(true) as DocumentFragment, ".side");
  const letter = side.toUpperCase();
  element.dataset.side = side;
  element.setAttribute("aria-label", `Side ${letter}`);
  within(element, "h2").textContent = letter;

  const policy = within<HTMLSelectElement>(element, ".policy select");
  policy.append(...policyChoices.map(({ name }) => new Option(name, name)));
  policy.value = initial.policy;
  policy.setAttribute("aria-label", `Policy of side ${letter}`);
  const ratio = within<HTMLInputElement>(element, ".keep input");
  ratio.value = String(100 * initial.ratio);
  const showPlan = () => {
    const isFull = policy.value === "full";
    ratio.disabled = isFull;
    if (isFull) ratio.value = "100";
    within(element, ".keep output").textContent = isFull ? "100 %" : `${ratio.value} %`;
    const idea = policyChoices.find(({ name }) => name === policy.value)!.idea;
    within(element, ".idea").textContent = `${idea[0]!.toUpperCase()}${idea.slice(1)}.`;
  };
  policy.addEventListener("change", () => {
    if (ratio.disabled) ratio.value = "25";
    showPlan();
  });
  ratio.addEventListener("input", showPlan);
  showPlan();

  const bar = within(element, ".progress");
  const answer = within(element, ".answer");
  const answerText = within(element, ".answer-text");
  const notes = within(element, ".notes");
  const headChoice = within<HTMLSelectElement>(element, ".kept select");
  headChoice.setAttribute("aria-label", `Head whose tokens side ${letter} shows`);
  answerText.dataset.empty = "The answer appears here.";

  let heatMap: HeatMap | undefined;
  let keptText: KeptText | undefined;
  let rightAnswers: readonly string[] = [];
  let numTokens = 0;
  let bytesBefore = 0;
  let times: number[] = [];

  function selectHead(row: number | undefined): void {
    headChoice.value = row === undefined ? "" : String(row);
    heatMap?.select(row);
    keptText?.select(row);
  }
  headChoice.addEventListener("change", () =>
    selectHead(headChoice.value === "" ? undefined : Number(headChoice.value)),
  );

  const stat = (name: string, value: string, beside = "") => {
    const small = document.createElement("small");
    small.textContent = beside;
    within(element, `[data-stat="${name}"]`).replaceChildren(value, beside ? " " : "", small);
  };
  const progress = (fraction: number) => {
    bar.style.setProperty("--done", fraction.toFixed(3));
    bar.setAttribute("aria-valuenow", String(Math.round(100 * fraction)));
  };
  const tell = (text: string, kind: "" | "warn" = "") => {
    const note = document.createElement("p");
    note.className = kind;
    note.textContent = text;
    notes.append(note);
  };

  /** Counted over the gaps between tokens so far. */
  function showSpeed(): void {
    if (times.length < 2) return;
    const speed = (1000 * (times.length - 1)) / (times.at(-1)! - times[0]!);
    stat("speed", speed.toFixed(speed < 10 ? 1 : 0), "tok/s");
  }

  function finish(result: SideResult): void {
    answer.classList.remove("writing");
    markAnswer();
    const { tokensPerSecond: speed, fallbacks, reusedTokens, promptTokens } = result;
    stat("kept", formatCount(result.tokensKept), `of ${formatCount(numTokens)}`);
    stat("first", formatSeconds(result.firstTokenMs));
    if (Number.isFinite(speed)) stat("speed", speed.toFixed(speed < 10 ? 1 : 0), "tok/s");
    if (result.stopped) tell("Stopped.");
    if (reusedTokens > 0)
      tell(
        `${formatCount(reusedTokens)} of ${formatCount(promptTokens)} tokens were still in the cache, so the first token came sooner.`,
      );
    if (fallbacks.length > 0)
      tell(
        `Ran on the CPU, for want of a GPU version: ${fallbacks.map(([name, calls]) => `${name} (${formatCount(calls)}×)`).join(", ")}.`,
        "warn",
      );
    element.dataset.state = "done";
  }

  function markAnswer(): void {
    const text = answerText.textContent ?? "";
    const right = rightAnswers.find((one) => text.includes(one));
    if (right === undefined) return;
    const mark = document.createElement("mark");
    mark.textContent = right;
    const at = text.indexOf(right);
    answerText.replaceChildren(text.slice(0, at), mark, text.slice(at + right.length));
  }

  return {
    element,
    plan: () => ({ policy: policy.value, ratio: Number(ratio.value) / 100 }),
    setShape(shape) {
      const { numLayers, numKvHeads } = shape;
      heatMap = createHeatMap(within(element, ".heat-map"), shape, selectHead);
      heatMap.show(new Uint32Array(numLayers * numKvHeads), 1);
      keptText = createKeptText(within(element, ".kept-text"), numLayers * numKvHeads);
      const rows = Array.from({ length: numLayers * numKvHeads }, (_, row) => {
        const layer = Math.floor(row / numKvHeads) + 1;
        return new Option(`Layer ${layer}, head ${(row % numKvHeads) + 1}`, String(row));
      });
      headChoice.replaceChildren(new Option("All heads", ""), ...rows);
    },
    begin(prompt, answers) {
      element.dataset.state = "waiting";
      rightAnswers = answers;
      numTokens = prompt.length;
      times = [];
      answerText.textContent = "";
      answerText.dataset.empty = "Waiting for its turn …";
      for (const name of ["kept", "memory", "first", "speed"]) stat(name, "–");
      notes.replaceChildren();
      progress(0);
      keptText?.begin(prompt);
    },
    take(event, device) {
      switch (event.type) {
        case "start":
          element.dataset.state = "running";
          bytesBefore = event.expected.bytesBefore;
          answerText.dataset.empty = "Reading …";
          return;
        case "prefill":
          progress(event.done / event.total);
          answerText.dataset.empty = `Reading … ${formatCount(event.done)} of ${formatCount(event.total)} tokens`;
          return;
        case "lengths": {
          heatMap?.show(event.lengths, numTokens);
          const kept = event.lengths.reduce((a, b) => a + b, 0) / event.lengths.length;
          stat("kept", formatCount(kept), `of ${formatCount(numTokens)}`);
          stat(
            "memory",
            formatBytes(event.bytes),
            `of ${formatBytes(Math.max(bytesBefore, event.bytes))}`,
          );
          return;
        }
        case "kept":
          keptText?.show(event);
          return;
        case "token":
          progress(1);
          numTokens++;
          times.push(performance.now());
          answer.classList.add("writing");
          answerText.append(event.text);
          keptText?.push(event.tokenText);
          showSpeed();
          return;
        case "end":
          finish(event.result);
          return;
        case "failed": {
          element.dataset.state = "failed";
          answer.classList.remove("writing");
          const { title, text } = explainFailure(event.failure, device);
          answerText.dataset.empty = "No answer.";
          tell(`${title}. ${text} (${event.failure.message})`, "warn");
        }
      }
    },
  };
}
