import type { WgslDispatch } from "@kvcache/core";
import { getOrMake } from "./get-or-make.ts";
import { computeStage } from "./gpu-memory.ts";

/** A compiled kernel and what its bind groups look like. */
export interface Pipeline {
  readonly id: number;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

export interface PipelineCache {
  get(dispatch: WgslDispatch): Pipeline;
  readonly size: number;
}

/** Bytes of uniform numbers that a dispatch may bring: 64 of them. */
export const uniformBytes = 256;

/** Names and types that a dispatch's code may use, in the order of its bindings. */
const signatureOf = ({ u32 = {}, i32 = {}, f32 = {}, reads, writes }: WgslDispatch): string =>
  [
    ...Object.keys(u32).map((name) => `${name}: u32`),
    ...Object.keys(i32).map((name) => `${name}: i32`),
    ...Object.keys(f32).map((name) => `${name}: f32`),
    "|",
    ...Object.entries(reads).map(([name, { type }]) => `r ${name}: array<${type}>`),
    ...Object.entries(writes).map(([name, { type }]) => `w ${name}: array<${type}>`),
  ].join(";");

/** Declarations in front of a kernel's code: see core's WgslDispatch. */
export function headerOf(dispatch: WgslDispatch): string {
  const [numbers, buffers] = signatureOf(dispatch).split("|") as [string, string];
  const fields = numbers.split(";").filter(Boolean);
  const bindings = buffers.split(";").filter(Boolean);
  const declarations = bindings.map((text, i) => {
    const access = text.startsWith("r ") ? "read" : "read_write";
    return `@group(0) @binding(${i + 1}) var<storage, ${access}> ${text.slice(2)};`;
  });
  return [
    ...(dispatch.enables ?? []).map((name) => `enable ${name};`),
    `struct Params { ${(fields.length > 0 ? fields : ["none: u32"]).join(", ")} }`,
    "@group(0) @binding(0) var<uniform> params: Params;",
    ...declarations,
    "fn workgroupIndex(id: vec3u, groups: vec3u) -> u32 { return id.y * groups.x + id.x; }",
    "",
  ].join("\n");
}

export function createPipelineCache(device: GPUDevice): PipelineCache {
  const pipelines = new Map<string, Map<string, Pipeline>>();
  const layouts = new Map<string, GPUBindGroupLayout>();
  let size = 0;

  const layoutOf = (numReads: number, numWrites: number): GPUBindGroupLayout => {
    const key = `${numReads} ${numWrites}`;
    const known = layouts.get(key);
    if (known) return known;
    const visibility = computeStage;
    const layout = device.createBindGroupLayout({
      entries: [
        {
          binding: 0,
          visibility,
          buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: 0 },
        },
        ...Array.from({ length: numReads + numWrites }, (_, i) => ({
          binding: i + 1,
          visibility,
          buffer: { type: i < numReads ? ("read-only-storage" as const) : ("storage" as const) },
        })),
      ],
    });
    layouts.set(key, layout);
    return layout;
  };

  const compile = (dispatch: WgslDispatch): Pipeline => {
    const { name, code, reads, writes } = dispatch;
    const layout = layoutOf(Object.keys(reads).length, Object.keys(writes).length);
    const module = device.createShaderModule({ label: name, code: headerOf(dispatch) + code });
    const pipeline = device.createComputePipeline({
      label: name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
    return { id: size++, pipeline, layout };
  };

  return {
    get(dispatch) {
      const variants = getOrMake(pipelines, dispatch.code, () => new Map<string, Pipeline>());
      return getOrMake(variants, signatureOf(dispatch), () => compile(dispatch));
    },
    get size() {
      return size;
    },
  };
}
