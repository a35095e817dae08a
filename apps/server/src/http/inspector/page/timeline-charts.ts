import uPlot from "uplot";
import type { Hello, Sample } from "../frame.ts";
import { byId, colour } from "./dom.ts";
import { bytes, count, rate } from "./format.ts";

const WINDOW_SECONDS = 120;
const MAX_SAMPLES = 600;
const marksAgo = [120, 90, 60, 30, 0];
const binarySteps = Array.from({ length: 45 }, (_, i) => 2 ** i);
const decimalSteps = Array.from(
  { length: 24 },
  (_, i) => [1, 2, 5][i % 3]! * 10 ** Math.floor(i / 3),
);

interface ValueAxis {
  /** The axis shows at least so much. */
  readonly least: number;
  readonly steps: number[];
  readonly values: (value: number) => string;
}

export interface TimelineCharts {
  add(sample: Sample): void;
  /** New colours, another width, or the clock moved. */
  redraw(fresh: boolean): void;
}

/** Memory and token rates of the last minutes, one below the other. */
export function createTimelineCharts(hello: Hello): TimelineCharts {
  const samples: Sample[] = [...hello.samples];
  let charts: uPlot[] = [];

  const columns = (read: (sample: Sample) => number) => samples.map(read);
  const times = () => columns(({ time }) => time / 1000);
  const memory = (): uPlot.AlignedData => [
    times(),
    columns((s) => s.residentBytes),
    columns((s) => s.heldBytes),
  ];
  const generated = (): uPlot.AlignedData => [times(), columns((s) => s.generationRate)];
  const prompts = (): uPlot.AlignedData => [times(), columns((s) => s.promptRate)];

  /** Small marks at the foot where compressions evicted. */
  const marks = ({ ctx, bbox, valToPos }: uPlot): void => {
    ctx.fillStyle = colour("ink");
    for (const { time, evicted } of samples) {
      if (evicted === 0) continue;
      const x = valToPos(time / 1000, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      const scale = window.devicePixelRatio || 1;
      ctx.fillRect(x, bbox.top + bbox.height - 7 * scale, 1.5 * scale, 7 * scale);
    }
  };

  function chart(
    id: string,
    height: number,
    series: uPlot.Series[],
    data: uPlot.AlignedData,
    { least, steps, values }: ValueAxis,
    hooks: uPlot.Hooks.Arrays,
  ): uPlot {
    const place = byId(id);
    place.replaceChildren();
    const axis = {
      stroke: colour("muted"),
      font: "11px system-ui, sans-serif",
      ticks: { show: false },
      grid: { stroke: colour("line"), width: 1 },
    };
    return new uPlot(
      {
        width: place.clientWidth,
        height,
        padding: [8, 14, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false }, sync: { key: "time" } },
        scales: {
          x: { range: () => [Date.now() / 1000 - WINDOW_SECONDS, Date.now() / 1000] },
          y: { range: (_, __, most) => [0, Math.max(least, (most ?? 0) * 1.1)] },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 22,
            splits: () => marksAgo.map((ago) => Date.now() / 1000 - ago),
            values: () => marksAgo.map((ago) => (ago === 0 ? "now" : `−${ago} s`)),
          },
          { ...axis, size: 64, space: 26, incrs: steps, values: (_, at) => at.map(values) },
        ],
        series: [{}, ...series.map((one) => ({ ...one, points: { show: false } }))],
        hooks,
      },
      data,
      place,
    );
  }

  function build(): void {
    for (const old of charts) old.destroy();
    const accent = colour("accent");
    const filled = `color-mix(in srgb, ${accent} 12%, transparent)`;
    const area = { stroke: accent, width: 1.5, fill: filled };
    const quiet = { stroke: colour("shared"), width: 1.5 };
    const bytesAxis = { least: hello.capacityBytes / 64, steps: binarySteps, values: bytes };
    const ratesAxis = { least: 10, steps: decimalSteps, values: count };
    charts = [
      chart("memory-chart", 116, [quiet, area], memory(), bytesAxis, { draw: [marks] }),
      chart("generated-chart", 84, [area], generated(), ratesAxis, {}),
      chart("prompt-chart", 84, [quiet], prompts(), ratesAxis, {}),
    ];
  }

  build();
  return {
    add(sample) {
      if (sample.time <= (samples.at(-1)?.time ?? 0)) return;
      samples.push(sample);
      if (samples.length > MAX_SAMPLES) samples.shift();
      for (const [i, data] of [memory(), generated(), prompts()].entries())
        charts[i]!.setData(data);
      const most = Math.max(...columns(({ heldBytes }) => heldBytes));
      describe("memory", `${bytes(sample.heldBytes)} by requests now, ${bytes(most)} at most`);
      describe("generated", `${rate(sample.generationRate)} a second now`);
      describe("prompt", `${rate(sample.promptRate)} a second now`);
    },
    redraw(fresh) {
      if (fresh) build();
      else for (const one of charts) one.redraw();
    },
  };
}

function describe(name: string, text: string): void {
  const chart = byId(`${name}-chart`);
  chart.setAttribute("aria-label", `${chart.dataset.name}: ${text}.`);
}
