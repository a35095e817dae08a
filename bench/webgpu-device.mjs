// A device to measure on: the backend's own parts, timestamps around dispatches, memory filled by the
// device itself. Dawn's toggles are for benches only: a product validates, and a browser cannot set them.
import { execFileSync } from "node:child_process";
import { findAdapter } from "../packages/backend-webgpu/src/adapter.ts";
import { createCommandQueue } from "../packages/backend-webgpu/src/command-queue.ts";
import { openGpu } from "../packages/backend-webgpu/src/gpu.ts";
import { createPipelineCache, uniformBytes } from "../packages/backend-webgpu/src/pipelines.ts";
import { chooseTier, detectTier } from "../packages/backend-webgpu/src/tier.ts";

const dawnOptions = [
  "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,skip_validation,disable_robustness",
  "disable-dawn-features=timestamp_quantization",
];
const usage = { mapRead: 1, copySrc: 4, copyDst: 8, uniform: 64, storage: 128, resolve: 512 };
const mostRepeats = 64;
const spinMilliseconds = 150;

/** Clocks in MHz and memory in MiB of the first NVIDIA card, where there is one. */
export function sampleCard() {
  try {
    const query = "name,clocks.sm,clocks.mem,clocks.max.sm,memory.total,driver_version";
    const text = execFileSync(
      "nvidia-smi",
      [`--query-gpu=${query}`, "--format=csv,noheader,nounits"],
      {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
        timeout: 10_000,
      },
    );
    const [name, sm, memory, maxSm, total, driver] = text.split("\n")[0].split(", ");
    return { name, smMHz: +sm, memoryMHz: +memory, maxSmMHz: +maxSm, memoryMiB: +total, driver };
  } catch {
    return undefined;
  }
}

export async function openBenchDevice(wantedTier) {
  const adapter = await findAdapter({ dawnOptions, powerPreference: "high-performance" });
  const timed = adapter.features.has("timestamp-query");
  const tier = chooseTier(adapter.features, wantedTier);
  const withTimestamps = {
    features: adapter.features,
    limits: adapter.limits,
    info: adapter.info,
    requestDevice: ({ requiredFeatures, ...rest }) =>
      adapter.requestDevice({
        ...rest,
        requiredFeatures: [...requiredFeatures, ...(timed ? ["timestamp-query"] : [])],
      }),
  };
  const gpu = await openGpu(withTimestamps, tier);
  const { device } = gpu;
  const queue = createCommandQueue(gpu);
  const pipelines = createPipelineCache(device);
  const querySet = timed && device.createQuerySet({ type: "timestamp", count: 2 * mostRepeats });
  const buffer = (size, flags) => device.createBuffer({ size, usage: flags });
  const resolved = buffer(16 * mostRepeats, usage.resolve | usage.copySrc);
  const staging = buffer(16 * mostRepeats, usage.mapRead | usage.copyDst);

  /** What a dispatch needs to be encoded again and again. */
  function prepare(dispatch) {
    const { pipeline, layout } = pipelines.get(dispatch);
    const uniforms = buffer(uniformBytes, usage.uniform | usage.copyDst);
    const view = new DataView(new ArrayBuffer(uniformBytes));
    let at = 0;
    const put = (numbers = {}, set) => {
      for (const value of Object.values(numbers)) {
        set.call(view, at, value, true);
        at += 4;
      }
    };
    put(dispatch.u32, view.setUint32);
    put(dispatch.i32, view.setInt32);
    put(dispatch.f32, view.setFloat32);
    device.queue.writeBuffer(uniforms, 0, view.buffer);
    const memories = [...Object.values(dispatch.reads), ...Object.values(dispatch.writes)];
    const group = device.createBindGroup({
      layout,
      entries: [uniforms, ...memories.map((memory) => memory.buffer.buffer)].map((b, binding) => ({
        binding,
        resource: binding === 0 ? { buffer: b, size: uniformBytes } : { buffer: b },
      })),
    });
    const x = Math.min(dispatch.workgroups, 65535);
    const y = Math.ceil(dispatch.workgroups / x);
    return {
      uniforms,
      encode: (pass) => {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group, [0]);
        pass.dispatchWorkgroups(x, y);
      },
    };
  }

  /** Seconds that a list of dispatches takes on the device, `repeats` times, one pass each. */
  async function time(dispatches, repeats = 9) {
    queue.flush();
    const prepared = dispatches.map(prepare);
    const submit = async (count, timestamps) => {
      const commands = device.createCommandEncoder();
      for (let i = 0; i < count; i++) {
        const writes = {
          querySet,
          beginningOfPassWriteIndex: 2 * i,
          endOfPassWriteIndex: 2 * i + 1,
        };
        const pass = commands.beginComputePass(timestamps ? { timestampWrites: writes } : {});
        for (const { encode } of prepared) encode(pass);
        pass.end();
      }
      if (timestamps) {
        commands.resolveQuerySet(querySet, 0, 2 * count, resolved, 0);
        commands.copyBufferToBuffer(resolved, 0, staging, 0, 16 * count);
      }
      device.queue.submit([commands.finish()]);
      await device.queue.onSubmittedWorkDone();
    };
    // Compiling leaves the device idle, and its clocks fall: they must be up again.
    const start = performance.now();
    do await submit(2, false);
    while (performance.now() - start < spinMilliseconds);
    let seconds;
    if (timed) {
      await submit(repeats, true);
      await staging.mapAsync(1);
      const stamps = new BigUint64Array(staging.getMappedRange().slice(0));
      staging.unmap();
      seconds = Array.from(
        { length: repeats },
        (_, i) => Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e9,
      );
    } else {
      seconds = [];
      for (let i = 0; i < repeats; i++) {
        const start = performance.now();
        await submit(1, false);
        seconds.push((performance.now() - start) / 1e3);
      }
    }
    for (const { uniforms } of prepared) uniforms.destroy();
    gpu.check();
    return seconds;
  }

  /** Fills memory with numbers in (−scale, scale), as f32 or as pairs of f16. */
  function fill(memory, dtype, scale = 1, seed = 1) {
    queue.dispatch({
      name: "fill",
      code: fillCode(dtype),
      u32: { count: memory.length, seed },
      f32: { scale },
      reads: {},
      writes: { out: { buffer: memory, type: "u32" } },
      workgroups: Math.min(16384, Math.ceil(memory.length / 256)),
    });
  }

  return {
    adapter,
    gpu,
    queue,
    tier,
    best: detectTier(adapter.features),
    timed,
    time,
    fill,
    done: () => device.queue.onSubmittedWorkDone(),
    room: (words, label = "bench") => gpu.allocate(label, "f32", words),
  };
}

const fillCode = (dtype) => /* wgsl */ `
fn hash(x: u32) -> u32 {
  var v = x * 747796405u + 2891336453u;
  v = ((v >> ((v >> 28u) + 4u)) ^ v) * 277803737u;
  return (v >> 22u) ^ v;
}
fn number(bits: u32) -> f32 { return (f32(bits & 0xffffu) / 32768.0 - 1.0) * params.scale; }
@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let stride = groups.x * groups.y * 256u;
  for (var i = workgroupIndex(id, groups) * 256u + lane; i < params.count; i += stride) {
    let bits = hash(i + params.seed);
    out[i] = ${
      dtype === "f16"
        ? "pack2x16float(vec2f(number(bits), number(bits >> 16u)))"
        : "bitcast<u32>(number(bits))"
    };
  }
}
`;

/** What bandwidth the device has: bytes per second of the best plain copy and of a plain read. */
export function controlDispatches(bench, words) {
  const [source, target, sums] = [bench.room(words), bench.room(words), bench.room(4 * 256)];
  bench.fill(source, "f32");
  const quads = Math.floor(words / 4 / 2048) * 2048;
  const main = /* wgsl */ `@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let work = workgroupIndex(id, groups);`;
  return {
    copy: {
      bytes: 32 * quads,
      dispatch: {
        name: "copy",
        code: `${main} let i = work * 256u + lane; if (i < params.count) { out[i] = input[i]; } }`,
        u32: { count: quads },
        reads: { input: { buffer: source, type: "vec4f" } },
        writes: { out: { buffer: target, type: "vec4f" } },
        workgroups: quads / 256,
      },
    },
    read: {
      bytes: 16 * quads,
      dispatch: {
        name: "read",
        code: `${main} let i = work * 2048u + lane; if (work * 2048u >= params.count) { return; }
  var sum = input[i];
  ${[1, 2, 3, 4, 5, 6, 7].map((n) => `sum += input[i + ${n * 256}u];`).join("\n")}
  if (sum.x == 12345.678) { out[lane] = sum; } }`,
        u32: { count: quads },
        reads: { input: { buffer: source, type: "vec4f" } },
        writes: { out: { buffer: sums, type: "vec4f" } },
        workgroups: quads / 2048,
      },
    },
    release() {
      bench.queue.flush();
      for (const memory of [source, target, sums]) bench.gpu.release(memory);
    },
  };
}
