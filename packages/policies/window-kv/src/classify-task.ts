/**
 * What a prompt asks for. Localization: a few words of the text answer it. Aggregation: all of the
 * text matters, as for a summary, a continuation, or examples to learn from.
 */
export type WindowTask = "localization" | "aggregation";

/** Characters at both ends of a prompt that instructions stand in. */
const end = 400;
const asksForAll =
  /\b(summar(y|i[sz]e)|overview|outline|gist|main (points|ideas)|in (one|two|three|a few) sentences|complete the|continue|next line|write|translate|classify|categor(y|ies|i[sz]e)|how many|count|most (common|frequent)|list all)\b/i;
const asksForOne =
  /\b(who|whom|whose|what|when|where|which|why|how (old|long|far|much|tall|big))\b[^?]*\?|\b(find|answer|according to|mentioned|special|magic|key|value|number|name|date)\b/i;
/** The same label before several lines: examples that show a pattern. */
const examples = /^\s*(Question|Q|Input|Example|Dialogue|Review|Type)\b.*?:/gim;

/**
 * Guesses the task from the wording of both ends of a prompt: two or more labelled examples, or a
 * word that asks for all of a text, make it aggregation unless its last sentence is a question about
 * one thing. A rule of ours in place of a classifier whose weights are not published; give the task
 * where you know it.
 */
export function classifyTask(prompt: string): WindowTask {
  const last = prompt.slice(-end);
  const ends = `${prompt.slice(0, end)}\n${last}`;
  if ((prompt.match(examples) ?? []).length > 2) return "aggregation";
  const lastSentence =
    last
      .trim()
      .split(/(?<=[.!?\n])\s+/)
      .at(-1) ?? "";
  if (asksForAll.test(lastSentence)) return "aggregation";
  if (asksForOne.test(lastSentence)) return "localization";
  return asksForAll.test(ends) ? "aggregation" : "localization";
}
