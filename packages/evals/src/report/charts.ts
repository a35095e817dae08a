import type { TopLevelSpec } from "vega-lite";
import type { EvalSummary } from "../aggregate.ts";
import type { EvalRecord } from "../record.ts";

/** Quality over the kept fraction, one line a policy; the full cache as a rule across. */
export function qualityChart(
  summaries: readonly EvalSummary[],
  question: EvalRecord["question"],
  measure: "score" | "nll",
): TopLevelSpec {
  const own = summaries.filter((summary) => summary.question === question);
  const full = own.find(({ policy }) => policy === "full");
  const values = own
    .filter(({ policy }) => policy !== "full")
    .map((summary) => ({
      policy: summary.policy,
      kept: summary.keptFraction,
      value: summary[measure],
    }));
  const title = measure === "score" ? "score, 0 … 100" : "−log p of the answer, per token";
  const x = { field: "kept", type: "quantitative" as const, title: "entries kept" };
  return {
    width: 560,
    height: 320,
    layer: [
      {
        data: { values },
        mark: { type: "line", point: true, tooltip: true },
        encoding: {
          x: { ...x, scale: { type: "log" }, axis: { format: ".0%" } },
          y: { field: "value", type: "quantitative", title },
          color: { field: "policy", type: "nominal", title: "policy" },
        },
      },
      ...(full
        ? [
            {
              data: { values: [{ value: full[measure] }] },
              mark: { type: "rule" as const, color: "currentColor", strokeDash: [6, 4] },
              encoding: { y: { field: "value", type: "quantitative" as const } },
            },
          ]
        : []),
    ],
  };
}

/** Share of its tokens that each head keeps, averaged over samples: layers across, heads down. */
export function headChart(records: readonly EvalRecord[], numLayers: number): TopLevelSpec {
  const numHeads = records[0]!.kept.length / numLayers;
  const values = records[0]!.kept.map((_, row) => ({
    layer: Math.floor(row / numHeads),
    head: row % numHeads,
    kept:
      records.reduce((sum, { kept, promptTokens }) => sum + kept[row]! / promptTokens, 0) /
      records.length,
  }));
  return {
    width: { step: 44 },
    height: { step: 28 },
    data: { values },
    encoding: {
      x: { field: "layer", type: "ordinal", axis: { labelAngle: 0 } },
      y: { field: "head", type: "ordinal" },
    },
    layer: [
      {
        mark: "rect",
        encoding: {
          color: {
            field: "kept",
            type: "quantitative",
            scale: { scheme: "blues", domainMin: 0 },
            legend: { title: "kept", format: ".0%" },
          },
        },
      },
      {
        mark: { type: "text", fontSize: 11 },
        encoding: {
          text: { field: "kept", type: "quantitative", format: ".0%" },
          color: {
            condition: { test: "datum.kept > 0.5", value: "white" },
            value: "#123",
          },
        },
      },
    ],
  };
}

/** A needle's score by how long the text is and how deep it stands. */
export function needleChart(
  records: readonly { readonly length: number; readonly depth: number; readonly score: number }[],
): TopLevelSpec {
  return {
    width: { step: 52 },
    height: { step: 28 },
    data: { values: [...records] },
    mark: "rect",
    encoding: {
      x: { field: "length", type: "ordinal", title: "tokens", axis: { labelAngle: 0 } },
      y: { field: "depth", type: "ordinal", title: "depth", axis: { format: ".0%" } },
      color: {
        aggregate: "mean",
        field: "score",
        type: "quantitative",
        scale: { scheme: "redyellowgreen", domain: [0, 1] },
        legend: { title: "found", format: ".0%" },
      },
    },
  };
}
