// What `pnpm bench webgpu` runs, and what bench/webgpu-bundle.mjs packs to run elsewhere:
//   node bench-webgpu.js [--json file] [--quick] [--tier T0] [--only window,attention,linear,topk,event,decoder]
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { median } from "./statistics.mjs";
import { measureDecoder } from "./webgpu-decoder.mjs";
import { controlDispatches, openBenchDevice, sampleCard } from "./webgpu-device.mjs";
import { measureEvents } from "./webgpu-event.mjs";
import {
  measureDecodeAttention,
  measureLinear,
  measureTopK,
  measureWindowScore,
} from "./webgpu-kernels.mjs";

const sections = ["window", "attention", "linear", "topk", "event", "decoder"];

/** Spins so that clocks are up when something is measured. */
async function warmUp(bench, control, seconds) {
  const start = performance.now();
  while (performance.now() - start < 1e3 * seconds) await bench.time([control.copy.dispatch], 9);
}

export default async function run({ log, quick = false, options = [] }) {
  const option = (name) =>
    options.includes(name) ? options[options.indexOf(name) + 1] : undefined;
  const only = option("--only")?.split(",") ?? sections;
  const bench = await openBenchDevice(option("--tier"));
  const { gpu, tier, best, timed } = bench;
  log(`${gpu.name}, kernels ${tier} (device: ${best}), ${timed ? "timestamps" : "wall clock"}`);
  const ratios = {};
  const figures = { device: gpu.name, tier, best, timed, card: sampleCard() };
  const bars = {};
  const controls = [];
  const most = Math.floor(Math.min(gpu.maxBindingBytes, 2 ** 31 - 65536) / 4);
  const control = async (name) => {
    const made = controlDispatches(bench, quick ? 2 ** 20 : most);
    await warmUp(bench, made, quick ? 0.05 : 0.5);
    const copy = made.copy.bytes / Math.min(...(await bench.time([made.copy.dispatch])));
    const read = made.read.bytes / Math.min(...(await bench.time([made.read.dispatch])));
    made.release();
    const found = { at: name, copyGBs: copy / 1e9, readGBs: read / 1e9, card: sampleCard() };
    controls.push(found);
    log(
      `control (${name}): copy ${found.copyGBs.toFixed(0)} GB/s, read ${found.readGBs.toFixed(0)} GB/s`,
    );
    return { copy, read };
  };
  const bar = (name, value, holds, text) => {
    ratios[name] = +value.toFixed(4);
    bars[name] = { value, bar: text, holds };
    log(`${holds ? "holds" : "MISSED"}  ${name}: ${value.toFixed(3)} (bar ${text})`);
  };
  const us = (seconds) =>
    `${(1e6 * median(seconds)).toFixed(1)} µs (min ${(1e6 * Math.min(...seconds)).toFixed(1)})`;
  const note = (name, { seconds, bytes, ...rest }) => {
    figures[name] = { microseconds: seconds.map((s) => +(1e6 * s).toFixed(2)), bytes, ...rest };
    log(`${name}: ${us(seconds)}, ${(bytes / median(seconds) / 1e9).toFixed(0)} GB/s`);
    for (const [part, s] of Object.entries(rest.parts ?? {}))
      log(`    ${part}: ${(1e6 * s).toFixed(1)} µs`);
    return bytes / median(seconds);
  };
  /** One section's failure leaves the figures of the others. */
  const section = async (name, measure) => {
    if (!only.includes(name)) return;
    try {
      await measure();
    } catch (error) {
      figures[`${name} failed`] = String(error?.message ?? error);
      log(`FAILED ${name}: ${error?.stack ?? error}`);
    }
  };

  let { copy, read } = await control("start");
  await section("linear", async () => {
    note("linear f16 4096×14336, 1 token", await measureLinear(bench, quick, 1));
    const stacked = await measureLinear(bench, quick, 1, { stacked: true });
    const rate = note("linear f16 4096×14336, 1 token, eight in one dispatch", stacked);
    bar("C4 gemv ÷ read", rate / read, rate / read >= 0.9, "≥ 0.90");
    for (const tokens of [4, 8, 16])
      note(`linear f16 4096×14336, ${tokens} tokens`, await measureLinear(bench, quick, tokens));
    const many = await measureLinear(bench, quick, quick ? 64 : 1024);
    note("linear f16 4096×14336, 1024 tokens", many);
    log(`    ${(many.flops / median(many.seconds) / 1e12).toFixed(1)} TFLOP/s`);
  });
  await section("attention", async () => {
    for (const group of [1, 4]) {
      const rate = note(
        `ragged decode attention, group ${group}`,
        await measureDecodeAttention(bench, quick, group),
      );
      bar(`C4 decode attention ÷ read, group ${group}`, rate / read, rate / read >= 0.8, "≥ 0.80");
    }
  });
  await section("window", async () => {
    const rate = note("window score", await measureWindowScore(bench, quick));
    const wanted = tier === "T3" ? 0.4 : 0.13;
    bar("C4 window score ÷ copy", rate / copy, rate / copy >= wanted, `≥ ${wanted} at ${tier}`);
  });
  await section("topk", async () => {
    const found = await measureTopK(bench, quick);
    note("top-k, 256 rows × 131072", found);
    const milliseconds = 1e3 * median(found.seconds);
    bar("C4 top-k ms", milliseconds, milliseconds <= 0.5, "≤ 0.5 ms");
  });
  ({ copy, read } = await control("middle"));
  await section("event", async () => {
    const found = await measureEvents(bench, quick);
    figures.event = found;
    for (const name of ["snap-kv", "ada-kv"]) {
      const { milliseconds, scoring, submits } = found[name];
      const value = median(milliseconds);
      log(
        `event ${name}: ${value.toFixed(2)} ms, ${submits} submits; scoring alone ${scoring.toFixed(2)} ms`,
      );
      bar(`C5 ${name} ms`, value, value <= 15 && submits === 1, "≤ 15 ms, one submit");
    }
  });
  await section("decoder", async () => {
    const memory = figures.card?.memoryMiB ?? 0;
    const batches = quick ? [1, 2] : memory > 100_000 ? [1, 16] : [1, 8];
    const found = await measureDecoder(bench, quick, { batches, readBandwidth: read, log });
    figures.decoder = found;
    for (const [label, { ratio }] of Object.entries(found)) {
      const wanted = label.startsWith("batch 1,") ? 1.35 : 1.8;
      bar(`C6 ${label}`, ratio, ratio <= wanted, `≤ ${wanted}`);
    }
    for (const batch of batches) {
      const speedup =
        found[`batch ${batch}, full`].median / found[`batch ${batch}, kept 1/8`].median;
      ratios[`C6 tokens/s, kept 1/8 ÷ full, batch ${batch}`] = +speedup.toFixed(3);
    }
  });
  await control("end");
  figures.controls = controls;
  const held = Object.values(bars).filter(({ holds }) => holds).length;
  log(
    `${held} of ${Object.keys(bars).length} bars hold${quick ? " (quick sizes say nothing about bars)" : ""}`,
  );
  gpu.dispose();
  return { ratios, figures: { ...figures, bars } };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const options = process.argv.slice(2);
  const { ratios, figures } = await run({
    log: (line) => console.log(line),
    quick: options.includes("--quick"),
    options,
  });
  const result = { bench: "webgpu", ratios, figures, date: new Date().toISOString().slice(0, 10) };
  const at = options.indexOf("--json");
  if (at >= 0) writeFileSync(options[at + 1], `${JSON.stringify(result, null, 2)}\n`);
  console.log(JSON.stringify({ bench: "webgpu", ratios }));
  process.exit(0);
}
