import { KvCacheError } from "@kvcache/core";

/** What a pickle says of an object that is not plain data. Nothing is ever called. */
export class PickledCall {
  constructor(
    /** "module name" of the callable, or undefined where it was made by another call. */
    readonly callable: string | undefined,
    readonly args: readonly unknown[],
  ) {}
}

/** "module name" of a class or function. */
export class PickledGlobal {
  constructor(readonly name: string) {}
}

/** A reference to something beside the pickle, as its writer named it. */
export class PickledReference {
  constructor(readonly id: unknown) {}
}

const mark = Symbol("mark");

/**
 * Reads a pickle of plain data (protocols 2 to 4): maps, lists, tuples, texts and numbers; calls and
 * references stay descriptions. Throws `invalid-file` for what it does not know.
 */
export function readPickle(bytes: Uint8Array): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: unknown[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;
  const take = (count: number) => {
    if (at + count > bytes.length) throw malformed("it is cut off");
    at += count;
    return at - count;
  };
  const text = (count: number) => {
    const from = take(count);
    return new TextDecoder().decode(bytes.subarray(from, from + count));
  };
  const line = () => {
    const end = bytes.indexOf(10, at);
    if (end < 0) throw malformed("it is cut off");
    const from = at;
    at = end + 1;
    return new TextDecoder().decode(bytes.subarray(from, end));
  };
  const top = () => stack.at(-1);
  const sinceMark = () => {
    const from = stack.lastIndexOf(mark);
    if (from < 0) throw malformed("a mark is missing");
    return stack.splice(from).slice(1);
  };
  const put = (pairs: readonly unknown[]) => {
    const map = top();
    if (!(map instanceof Map)) return;
    for (let i = 0; i + 1 < pairs.length; i += 2) map.set(pairs[i], pairs[i + 1]);
  };
  const call = (callable: unknown, args: unknown) => {
    const name = callable instanceof PickledGlobal ? callable.name : undefined;
    return name === "collections OrderedDict"
      ? new Map()
      : new PickledCall(name, Array.isArray(args) ? args : []);
  };
  const integer = (count: number) => {
    let value = 0n;
    const from = take(count);
    for (let i = count - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[from + i]!);
    const negative = count > 0 && bytes[from + count - 1]! >= 128;
    return Number(negative ? value - (1n << BigInt(8 * count)) : value);
  };

  const steps: Readonly<Record<number, () => void>> = {
    128: () => take(1), // PROTO
    149: () => take(8), // FRAME
    40: () => stack.push(mark),
    125: () => stack.push(new Map()),
    93: () => stack.push([]),
    41: () => stack.push([]), // an empty tuple
    78: () => stack.push(null),
    136: () => stack.push(true),
    137: () => stack.push(false),
    75: () => stack.push(bytes[take(1)]),
    77: () => stack.push(view.getUint16(take(2), true)),
    74: () => stack.push(view.getInt32(take(4), true)),
    138: () => stack.push(integer(bytes[take(1)]!)),
    71: () => stack.push(view.getFloat64(take(8))),
    88: () => stack.push(text(view.getUint32(take(4), true))),
    140: () => stack.push(text(bytes[take(1)]!)),
    85: () => stack.push(text(bytes[take(1)]!)),
    84: () => stack.push(text(view.getUint32(take(4), true))),
    113: () => memo.set(bytes[take(1)]!, top()),
    114: () => memo.set(view.getUint32(take(4), true), top()),
    148: () => memo.set(memo.size, top()),
    104: () => stack.push(memo.get(bytes[take(1)]!)),
    106: () => stack.push(memo.get(view.getUint32(take(4), true))),
    99: () => stack.push(new PickledGlobal(`${line()} ${line()}`)),
    147: () => {
      const [module, name] = stack.splice(-2);
      stack.push(new PickledGlobal(`${module} ${name}`));
    },
    81: () => stack.push(new PickledReference(stack.pop())),
    116: () => stack.push(sinceMark()),
    133: () => stack.push(stack.splice(-1)),
    134: () => stack.push(stack.splice(-2)),
    135: () => stack.push(stack.splice(-3)),
    82: () => {
      const [callable, args] = stack.splice(-2);
      stack.push(call(callable, args));
    },
    129: () => {
      const [callable, args] = stack.splice(-2);
      stack.push(call(callable, args));
    },
    98: () => stack.pop(), // the state of an object that we only describe
    115: () => put(stack.splice(-2)),
    117: () => put(sinceMark()),
    97: () => {
      const [value] = stack.splice(-1);
      (top() as unknown[]).push(value);
    },
    101: () => {
      const values = sinceMark();
      (top() as unknown[]).push(...values);
    },
  };
  for (;;) {
    const code = bytes[take(1)]!;
    if (code === 0x2e) return top();
    const step = steps[code];
    if (!step) throw malformed(`it has the instruction 0x${code.toString(16)}`);
    step();
  }
}

const malformed = (what: string) =>
  new KvCacheError("invalid-file", `This pickle cannot be read: ${what}.`, {
    remedy: "Save plain tensors again: torch.save(state_dict, path).",
  });
