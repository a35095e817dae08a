import { KvCacheError } from "@kvcache/core";
import type { FileTensor } from "./tensor-file.ts";

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/**
 * Reads the bytes of a NumPy `.npy` file of little-endian floats in C order (version 1 or 2). Throws
 * `invalid-file` when it is anything else.
 */
export function readNpyFile(bytes: Uint8Array): FileTensor {
  const malformed = (what: string) =>
    new KvCacheError("invalid-file", `This is no .npy file that can be read: ${what}.`, {
      remedy: 'Save it again: numpy.save(path, array.astype("<f4")).',
    });
  if (bytes.length < 12 || !magic.every((byte, i) => bytes[i] === byte))
    throw malformed("it does not begin like one");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = bytes[6] === 1 ? 10 : 12;
  const end = start + (bytes[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (end > bytes.length) throw malformed("its header is cut off");
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, end));
  const dtype = /'descr':\s*'<f([48])'/.exec(header)?.[1];
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (!dtype || shape === undefined || !/'fortran_order':\s*False/.test(header))
    throw malformed(`its header says ${header.trim()}`);
  const sizes = shape.split(",").flatMap((size) => (size.trim() ? [Number(size)] : []));
  const count = sizes.reduce((product, size) => product * size, 1);
  const width = Number(dtype);
  if (bytes.length - end !== count * width)
    throw malformed(`its data does not fill the shape [${sizes}]`);
  // A copy: slice of a Buffer is none.
  const data = new Uint8Array(bytes.subarray(end)).buffer;
  return {
    shape: sizes,
    data: width === 4 ? new Float32Array(data) : Float32Array.from(new Float64Array(data)),
  };
}
