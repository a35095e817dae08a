/** Tasks with several answers: the share of them that was given counts. */
const listed = /^(vt|cwe|fwe|niah_multi.*)$/;

/**
 * How right an answer is, 0 … 1, by the rule in model-tiny's card: `text_recall` must begin with the
 * text; lists count the share of their items found anywhere; all others must contain the answer.
 */
export function scoreAnswer(task: string, text: string, answers: readonly string[]): number {
  if (task === "text_recall") return Number(text.trim().startsWith(answers[0]!.trim()));
  if (listed.test(task))
    return answers.filter((answer) => text.includes(answer)).length / answers.length;
  return Number(text.includes(answers[0]!));
}
