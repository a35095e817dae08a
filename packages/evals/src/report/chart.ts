import * as vega from "vega";
import { compile, type TopLevelSpec } from "vega-lite";

/** Charts take the page's colours: text in the current colour, nothing behind it. */
const config = {
  background: "transparent",
  font: "system-ui, sans-serif",
  view: { stroke: "transparent" },
  axis: {
    labelColor: "currentColor",
    titleColor: "currentColor",
    domainColor: "currentColor",
    tickColor: "currentColor",
    gridColor: "currentColor",
    gridOpacity: 0.12,
  },
  legend: { labelColor: "currentColor", titleColor: "currentColor" },
  header: { labelColor: "currentColor", titleColor: "currentColor" },
  title: { color: "currentColor" },
} as const;

/** A Vega-Lite chart as SVG text. */
export async function svgOf(spec: TopLevelSpec, label: string): Promise<string> {
  const compiled = compile({ ...spec, config } as TopLevelSpec).spec;
  const view = new vega.View(vega.parse(compiled), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return svg.replace("<svg ", `<svg role="img" aria-label="${label.replace(/["<&]/g, "")}" `);
}
