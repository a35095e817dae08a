import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import {
  demoDocumentUrl,
  demoQuestionsUrl,
  modelUrl,
  profilesUrl,
  tasksUrl,
  wikitextUrl,
} from "./index.ts";

it("names files that ship", () => {
  for (const file of ["config.json", "tokenizer.json", "model.safetensors.index.json"])
    expect(existsSync(new URL(file, modelUrl)), file).toBe(true);
  expect(existsSync(new URL("kv-zap.safetensors", profilesUrl))).toBe(true);
  for (const url of [tasksUrl, wikitextUrl]) expect(existsSync(url), url.href).toBe(true);
});

it("plants every answer of the demo in its text exactly once per statement", () => {
  const text = readFileSync(demoDocumentUrl, "utf8");
  const questions = JSON.parse(readFileSync(demoQuestionsUrl, "utf8")) as {
    question: string;
    answers: string[];
  }[];
  expect(questions.length).toBeGreaterThanOrEqual(5);
  for (const { answers } of questions) for (const answer of answers) expect(text).toContain(answer);
});
