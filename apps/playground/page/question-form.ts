import type { EngineClient } from "./engine-client.ts";
import type { Comparison, OpenedModel } from "./protocol.ts";
import { byId } from "./view/element.ts";
import { formatCount } from "./view/quantities.ts";

export interface AskedQuestion extends Omit<Comparison, "sides"> {
  /** Right answers, where they are known. */
  readonly answers: readonly string[];
}

export interface QuestionFormOptions {
  readonly engine: EngineClient;
  readonly demoText: string;
  readonly demoQuestions: readonly { question: string; answers: readonly string[] }[];
  onCompare(question: AskedQuestion): void;
  onStop(): void;
}

export interface QuestionForm {
  enable(model: OpenedModel): void;
  disable(status: string): void;
  /** The last comparison is over. */
  ready(status: string): void;
}

const lengths = [128, 256, 512, 1024, 2048, 4096, 8192, 16_000];
/** Tokens around the text: the question, the chat template's frame. */
const FRAME = 96;
/** A GPU in software reads some hundred tokens in the time that people wait. */
const startLength = { none: 2048, "software-gpu": 512, cpu: 512 } as const;

/** What is read and asked. The demo's text is shown as it is cut; one's own is cut when asked. */
export function startQuestionForm(options: QuestionFormOptions): QuestionForm {
  const { engine, demoText, demoQuestions, onCompare, onStop } = options;
  const textChoice = byId<HTMLSelectElement>("text-choice");
  const text = byId<HTMLTextAreaElement>("text");
  const length = byId<HTMLInputElement>("length");
  const questionChoice = byId<HTMLSelectElement>("question-choice");
  const question = byId<HTMLTextAreaElement>("question");
  const maxTokens = byId<HTMLInputElement>("max-tokens");
  const hideQuestion = byId<HTMLInputElement>("hide-question");
  const compare = byId<HTMLButtonElement>("compare");
  const stop = byId<HTMLButtonElement>("stop");
  const status = byId("status");
  let open = false;
  let ownText = "";
  let lastCut = 0;

  questionChoice.append(
    ...demoQuestions.map(({ question }, i) => {
      const asked = question.replace(/^What is the (special )?/, "").replace(/ mentioned.*/, "");
      return new Option(asked.replace(/\?$/, ""), String(i));
    }),
    new Option("My own question", "own"),
  );
  const preset = () => demoQuestions[Number(questionChoice.value)];
  const isDemo = () => textChoice.value === "demo";
  const numTokens = () => lengths[Number(length.value)]!;

  const showRanges = () => {
    byId("length-shown").textContent = `${formatCount(numTokens())} tokens`;
    byId("max-tokens-shown").textContent = `${maxTokens.value} tokens`;
  };

  /** The text that will be read. */
  async function cutText(): Promise<string> {
    const full = isDemo() ? demoText : text.value;
    const anchor = isDemo() ? preset()?.answers[0] : undefined;
    return (await engine.cut({ text: full, numTokens: numTokens(), anchor })).text;
  }
  async function showText(): Promise<void> {
    showRanges();
    text.readOnly = isDemo();
    if (!open || !isDemo()) return;
    const mine = ++lastCut;
    const cut = await cutText();
    if (mine === lastCut && isDemo()) text.value = cut;
  }

  textChoice.addEventListener("change", () => {
    if (isDemo()) ownText = text.value;
    else questionChoice.value = "own";
    text.value = isDemo() ? "" : ownText;
    text.placeholder = isDemo() ? "" : "Paste a text here.";
    void showText();
  });
  questionChoice.addEventListener("change", () => {
    question.value = preset()?.question ?? "";
    if (!preset()) question.focus();
    void showText();
  });
  question.addEventListener("input", () => {
    if (question.value !== preset()?.question) questionChoice.value = "own";
  });
  length.addEventListener("input", () => void showText());
  maxTokens.addEventListener("input", showRanges);
  question.value = preset()!.question;
  showRanges();

  byId("setup").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (compare.disabled) return;
    compare.disabled = true;
    stop.disabled = false;
    status.textContent = "";
    onCompare({
      text: await cutText(),
      question: question.value,
      maxTokens: Number(maxTokens.value),
      hideQuestion: hideQuestion.checked,
      answers: isDemo() ? (preset()?.answers ?? []) : [],
    });
  });
  // Enter asks; Shift+Enter breaks the line.
  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    byId<HTMLFormElement>("setup").requestSubmit();
  });
  stop.addEventListener("click", () => {
    stop.disabled = true;
    onStop();
  });

  return {
    enable({ contextTokens, emulated }) {
      const fitting = lengths.filter((n) => n + FRAME + Number(maxTokens.max) <= contextTokens);
      length.max = String(Math.max(0, fitting.length - 1));
      length.value = String(fitting.indexOf(startLength[emulated]));
      if (length.value === "-1") length.value = length.max;
      open = true;
      compare.disabled = false;
      status.textContent = "";
      void showText();
    },
    disable(why) {
      open = false;
      compare.disabled = true;
      stop.disabled = true;
      status.textContent = why;
    },
    ready(text) {
      compare.disabled = !open;
      stop.disabled = true;
      status.textContent = text;
    },
  };
}
