import { KvCacheError } from "@kvcache/core";
import { type EvalSummary, summarise } from "../aggregate.ts";
import { needleDepth } from "../needle-grid.ts";
import type { EvalRecord } from "../record.ts";
import { headChart, needleChart, qualityChart } from "./charts.ts";
import { escapeHtml, page } from "./page.ts";

export interface ReportOptions {
  readonly title?: string;
  /** Layers of the model, which tell the rows of the head map apart; one row when absent. */
  readonly numLayers?: number;
  /** One line under the title: command, machine, date. */
  readonly subtitle?: string;
}

export interface Report {
  /** One self-contained page: tables, plots, no scripts, nothing from elsewhere. */
  readonly html: string;
  /** One line a plan: policy, budget, question, samples, score, nll, kept fraction, score by task. */
  readonly csv: string;
}

/** Makes a page of an evaluation's records. Throws `invalid-argument` without records. */
export async function createReport(
  records: readonly EvalRecord[],
  { title = "Quality of cache plans", numLayers = 1, subtitle = "" }: ReportOptions = {},
): Promise<Report> {
  if (records.length === 0)
    throw new KvCacheError("invalid-argument", "There are no records to report on.", {
      remedy: "Name a file that kvcache eval wrote.",
    });
  // A megabyte of charting that nothing but a report should load.
  const { svgOf } = await import("./chart.ts");
  const summaries = summarise(records);
  const sections: { readonly heading: string; readonly html: string }[] = [];
  for (const question of ["hidden", "visible"] as const) {
    const own = summaries.filter((summary) => summary.question === question);
    if (own.length === 0) continue;
    const charts = own.some(({ policy }) => policy !== "full")
      ? [
          await svgOf(qualityChart(own, question, "score"), `Score over kept entries, ${question}`),
          await svgOf(qualityChart(own, question, "nll"), `NLL over kept entries, ${question}`),
        ]
      : [];
    sections.push({
      heading: `Question ${question} while compressing`,
      html: charts.map((svg) => `<figure>${svg}</figure>`).join("") + tableOf(own),
    });
  }
  sections.push(...(await planSections(records, summaries, numLayers, svgOf)));
  return { html: page({ title, subtitle, sections }), csv: csvOf(summaries) };
}

/** Per plan: which heads kept how much, and where a needle was found. */
async function planSections(
  records: readonly EvalRecord[],
  summaries: readonly EvalSummary[],
  numLayers: number,
  svgOf: typeof import("./chart.ts").svgOf,
) {
  const sections: { heading: string; html: string }[] = [];
  for (const { policy, budget, question } of summaries) {
    if (policy === "full") continue;
    const own = records.filter(
      (r) => r.policy === policy && r.budget === budget && r.question === question,
    );
    const name = `${policy} @ ${budget}, question ${question}`;
    const heads = await svgOf(headChart(own, numLayers), `Tokens kept per head: ${name}`);
    const needles = own.flatMap((record) => {
      const depth = needleDepth(record.id);
      return depth === undefined ? [] : [{ ...record, depth }];
    });
    const grid =
      needles.length === 0
        ? ""
        : `<figure>${await svgOf(needleChart(needles), `Needles found: ${name}`)}</figure>`;
    sections.push({ heading: name, html: `<figure>${heads}</figure>${grid}` });
  }
  return sections;
}

const percent = (value: number) => `${(100 * value).toFixed(1)} %`;

function tableOf(summaries: readonly EvalSummary[]): string {
  const tasks = [...new Set(summaries.flatMap(({ byTask }) => Object.keys(byTask)))];
  const head = ["policy", "budget", "samples", "kept", "score", "NLL", ...tasks];
  const rows = summaries.map((summary) => [
    summary.policy,
    summary.budget,
    String(summary.samples),
    percent(summary.keptFraction),
    summary.score.toFixed(1),
    summary.nll.toFixed(3),
    ...tasks.map((task) => summary.byTask[task]?.toFixed(0) ?? ""),
  ]);
  const cells = (row: readonly string[], tag: "td" | "th") =>
    `<tr>${row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  return `<div class="scroll"><table><thead>${cells(head, "th")}</thead><tbody>${rows
    .map((row) => cells(row, "td"))
    .join("")}</tbody></table></div>`;
}

function csvOf(summaries: readonly EvalSummary[]): string {
  const tasks = [...new Set(summaries.flatMap(({ byTask }) => Object.keys(byTask)))];
  const quoted = (cell: string) => (/[",\n]/.test(cell) ? `"${cell.replace(/"/g, '""')}"` : cell);
  const lines = [
    ["policy", "budget", "question", "samples", "kept", "score", "nll", ...tasks],
    ...summaries.map((summary) => [
      summary.policy,
      summary.budget,
      summary.question,
      String(summary.samples),
      String(summary.keptFraction),
      String(summary.score),
      String(summary.nll),
      ...tasks.map((task) => String(summary.byTask[task] ?? "")),
    ]),
  ];
  return `${lines.map((line) => line.map(quoted).join(",")).join("\n")}\n`;
}
