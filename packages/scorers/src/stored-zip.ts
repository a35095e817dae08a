import { KvCacheError } from "@kvcache/core";

const endSignature = 0x06054b50;
const entrySignature = 0x02014b50;
const wide = 0xffffffff;

/**
 * Entries of a zip archive that are stored as they are, by name: views into its bytes. Throws
 * `invalid-file` for anything that is compressed, spread over disks or cut off.
 */
export function readStoredZip(bytes: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = findEnd(view);
  const entries = new Map<string, Uint8Array>();
  let at = view.getUint32(end + 16, true);
  let count = view.getUint16(end + 10, true);
  if (at === wide || count === 0xffff) {
    // Zip64: the locator stands before the end record.
    const record = Number(view.getBigUint64(end - 12, true));
    count = Number(view.getBigUint64(record + 32, true));
    at = Number(view.getBigUint64(record + 48, true));
  }
  for (; count > 0; count--) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== entrySignature)
      throw malformed("its directory is cut off");
    const nameBytes = view.getUint16(at + 28, true);
    const extraBytes = view.getUint16(at + 30, true);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameBytes));
    if (view.getUint16(at + 10, true) !== 0) throw malformed(`${name} is compressed`);
    const { size, offset } = placeOf(view, at, at + 46 + nameBytes, extraBytes);
    const data =
      offset + 30 + view.getUint16(offset + 26, true) + view.getUint16(offset + 28, true);
    if (data + size > bytes.length) throw malformed(`${name} is cut off`);
    entries.set(name, bytes.subarray(data, data + size));
    at += 46 + nameBytes + extraBytes + view.getUint16(at + 32, true);
  }
  return entries;
}

/** Size of an entry and where its local header stands, from the directory or its zip64 field. */
function placeOf(view: DataView, at: number, extra: number, extraBytes: number) {
  let size = view.getUint32(at + 24, true);
  let offset = view.getUint32(at + 42, true);
  for (let field = extra; field + 4 <= extra + extraBytes; ) {
    if (view.getUint16(field, true) === 1) {
      let value = field + 4;
      const next = () => {
        value += 8;
        return Number(view.getBigUint64(value - 8, true));
      };
      if (size === wide) size = next();
      if (view.getUint32(at + 20, true) === wide) next();
      if (offset === wide) offset = next();
    }
    field += 4 + view.getUint16(field + 2, true);
  }
  return { size, offset };
}

function findEnd(view: DataView): number {
  for (let at = view.byteLength - 22; at >= 0 && at > view.byteLength - 65_558; at--)
    if (view.getUint32(at, true) === endSignature) return at;
  throw malformed("it has no directory");
}

const malformed = (what: string) =>
  new KvCacheError("invalid-file", `This is no zip archive that can be read: ${what}.`, {
    remedy: "Give the bytes of a file that torch.save wrote.",
  });
