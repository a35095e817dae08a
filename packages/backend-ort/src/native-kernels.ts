import {
  type HostCache,
  hostArray,
  KvCacheError,
  type NativeCall,
  type Tensor,
} from "@kvcache/core";
import { type NativeAddon, type NativeSession, nativeTensor } from "./native-addon.ts";
import { encodeModel, type OnnxValue } from "./onnx-model.ts";
import { rethrowOrtError } from "./ort-error.ts";

/** Runs kernels of the native library, each as a session of one node. */
export interface NativeKernels {
  /** False when the library has no op of that name. */
  run(name: string, call: NativeCall): Promise<boolean>;
  dispose(): void;
}

export function createNativeKernels(
  addon: NativeAddon,
  threads: number,
  host: HostCache,
  handle: bigint,
): NativeKernels {
  const sessions = new Map<string, Promise<NativeSession | undefined>>();

  const sessionFor = (name: string, call: NativeCall) => {
    const dtypes = (tensors: readonly Tensor[]) => tensors.map((tensor) => tensor.dtype).join(" ");
    const key = `${name} ${dtypes(call.inputs)} > ${dtypes(call.outputs)}`;
    let session = sessions.get(key);
    if (session === undefined) {
      const options = { threads, spinning: false, customOps: true, external: [] };
      session = addon.createSession(oneNode(name, call), options).catch((error: Error) => {
        if (/not a registered function|No Op registered/i.test(error.message)) return undefined;
        sessions.delete(key);
        return rethrowOrtError(error);
      });
      sessions.set(key, session);
    }
    return session;
  };

  return {
    async run(name, call) {
      if (call.cache !== undefined && call.cache !== host)
        throw new KvCacheError(
          "invalid-argument",
          `Kernel ${name} was recorded on the encoder of another cache.`,
          { remedy: "Use the encoder of the session that is attached to this cache." },
        );
      const session = await sessionFor(name, call);
      if (session === undefined) return false;
      const integers = BigInt64Array.from(call.integers.length ? call.integers : [0], BigInt);
      const floats = Float32Array.from(call.floats.length ? call.floats : [0]);
      const inputs = [
        nativeTensor(BigInt64Array.of(call.cache ? handle : 0n), "i64", [1]),
        nativeTensor(integers, "i64", [integers.length]),
        nativeTensor(floats, "f32", [floats.length]),
        ...call.inputs.map(tensorOf),
      ];
      const outputs = call.outputs.map(tensorOf);
      await addon.runAsync(session, inputs, outputs).catch(rethrowOrtError);
      return true;
    },
    dispose() {
      for (const session of sessions.values())
        session.then((made) => made && addon.releaseSession(made)).catch(() => {});
      sessions.clear();
    },
  };
}

const tensorOf = (tensor: Tensor) =>
  nativeTensor(hostArray(tensor, tensor.dtype), tensor.dtype, [tensor.length]);

/** A model of one node of domain kvcache; the op is the kernel's name in PascalCase. */
function oneNode(name: string, call: NativeCall): Uint8Array {
  const op = name.replace(/(?:^|-)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  const values = (kind: string, tensors: readonly Tensor[]): OnnxValue[] =>
    tensors.map(({ dtype }, i) => ({
      name: `${kind}${i}`,
      type: dtype,
      dims: [`${kind}${i}Size`],
    }));
  const inputs: OnnxValue[] = [
    { name: "handle", type: "i64", dims: [1] },
    { name: "integers", type: "i64", dims: ["numIntegers"] },
    { name: "floats", type: "f32", dims: ["numFloats"] },
    ...values("input", call.inputs),
  ];
  const outputs = values("output", call.outputs);
  const names = (list: readonly OnnxValue[]) => list.map((value) => value.name);
  const node = { op, domain: "kvcache", inputs: names(inputs), outputs: names(outputs) };
  return encodeModel({ nodes: [node], inputs, outputs, initializers: [] }).bytes;
}
