import { expect, it } from "vitest";
import { scoreAnswer } from "./score-answer.ts";

it.each([
  ["niah_single", "It is 8824228.", ["8824228"], 1],
  ["niah_single", "It is 882422.", ["8824228"], 0],
  ["fact_qa", "Lisbon or Paris", ["Paris"], 1],
  ["vt", "ABC, DEF", ["ABC", "DEF", "GHI", "JKL"], 0.5],
  ["niah_multivalue", "1, 2", ["2", "1"], 1],
  ["cwe", "oak and elm", ["oak", "fir", "elm"], 2 / 3],
  ["text_recall", " the quick fox", ["the quick "], 1],
  ["text_recall", "then the quick", ["the quick"], 0],
  ["a task of one's own", "yes", ["yes", "no"], 1],
])("%s: %s", (task, text, answers, score) => {
  expect(scoreAnswer(task, text, answers)).toBeCloseTo(score, 12);
});
