// The page docs/quality.md from records of `kvcache eval`: claims first, then every method's row.
import { summarise } from "../../packages/evals/dist/index.js";
import { claims } from "./claims.mjs";
import { withoutRow } from "./rows.mjs";

const full = (question) => `full ${question}`;

/** Records → figures by plan, ratio and question, in percent of the full cache's score. */
function figuresOf(records) {
  const summaries = summarise(records);
  const scores = new Map(
    summaries
      .filter(({ policy }) => policy === "full")
      .map(({ question, score }) => [full(question), score]),
  );
  const all = new Map();
  for (const { policy, budget, question, samples, score, nll, keptFraction } of summaries) {
    if (policy === "full") continue;
    const key = `${policy} ${Number(budget)} ${question}`;
    const relative = (100 * score) / scores.get(full(question));
    all.set(key, { policy, question, samples, score: relative, nll, kept: keptFraction });
  }
  return { scores, all };
}

/** One line a claim: holds, does not hold, or was not run. */
function claimLines({ all }) {
  return claims.map(([claim, check]) => {
    try {
      const { measured, holds } = check((plan, ratio, question) => {
        const row = all.get(`${plan} ${ratio} ${question}`);
        if (!row) throw new RangeError(`${plan}@${ratio}, ${question}, was not run`);
        return row;
      });
      return `| ${claim} | ${measured} | ${holds ? "yes" : "**no**"} |`;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return `| ${claim} | ${error.message} | – |`;
    }
  });
}

const columns = ["0.5", "0.25", "0.2", "0.1"];

/** A question's table, best first by the mean of its columns. */
function rowLines({ all }, question) {
  const names = [...new Set([...all.values()].map(({ policy }) => policy))];
  const lines = names.map((name) => {
    const at = (budget) => all.get(`${name} ${budget} ${question}`);
    const own = at("1");
    const cells = own
      ? [`${own.score.toFixed(1)}, keeping ${(100 * own.kept).toFixed(0)} %`, "", "", ""]
      : columns.map((budget) => at(Number(budget))?.score.toFixed(1) ?? "–");
    const ends = own ? [own, own] : [at(0.5), at(0.1)];
    const nll = ends.map((row) => row?.nll.toFixed(2) ?? "–").join(" / ");
    const present = own ? [own] : columns.map((budget) => at(Number(budget))).filter(Boolean);
    const mean = present.reduce((sum, { score }) => sum + score, 0) / Math.max(1, present.length);
    return { mean, line: `| ${name} | ${cells.join(" | ")} | ${nll} |` };
  });
  return lines.sort((a, b) => b.mean - a.mean).map(({ line }) => line);
}

/** Markdown of the page. */
export function qualityPage(records, { command, model }) {
  const figures = figuresOf(records);
  const samples = new Set(records.map(({ id }) => id)).size;
  const questions = ["hidden", "visible"].filter((question) => figures.scores.has(full(question)));
  const scores = questions
    .map((question) => `${figures.scores.get(full(question)).toFixed(1)} (${question})`)
    .join(", ");
  const table = (question) =>
    [
      `## Question ${question} while compressing`,
      "",
      `| plan | ${columns.map((ratio) => `${100 * Number(ratio)} % kept`).join(" | ")} | NLL at 50 / 10 % |`,
      "| --- | --: | --: | --: | --: | --: |",
      ...rowLines(figures, question),
      "",
    ].join("\n");
  return `<!-- Written by bench/quality/table.mjs from records of kvcache eval. -->

# Quality

What each method keeps of the full cache's answers on the tasks that ship with ${model}: score in
percent of the full cache's, which is ${scores} of 100; the mean over tasks of the mean over samples, ${samples} samples.

\`\`\`sh
${command}
\`\`\`

_Hidden_: the cache is compressed before the question is known. _Visible_: the question is part of what
is compressed. NLL: teacher-forced −log p of the answer, per token.

## Claims

| claim | measured | holds |
| --- | --- | --- |
${claimLines(figures).join("\n")}

${questions.map(table).join("\n")}
## Without a row

${Object.entries(withoutRow)
  .map(([names, why]) => `- ${names}: ${why}.`)
  .join("\n")}
`;
}
