const utf8 = new TextEncoder();

/** Writes protobuf fields (https://protobuf.dev/programming-guides/encoding) one after another. */
export interface ProtobufWriter {
  /** Varint field; a negative number becomes its 64-bit two's complement. */
  int(field: number, value: number): ProtobufWriter;
  /** 32-bit float field. */
  float(field: number, value: number): ProtobufWriter;
  string(field: number, value: string): ProtobufWriter;
  bytes(field: number, value: Uint8Array): ProtobufWriter;
  /** A nested message, written by a callback. */
  message(field: number, write: (writer: ProtobufWriter) => void): ProtobufWriter;
  /** Everything written so far. */
  finish(): Uint8Array;
}

const wire = { varint: 0, bytes: 2, fixed32: 5 } as const;

export function createProtobufWriter(): ProtobufWriter {
  let buffer = new Uint8Array(256);
  let length = 0;

  const reserve = (count: number) => {
    if (length + count <= buffer.length) return;
    const grown = new Uint8Array(Math.max(2 * buffer.length, length + count));
    grown.set(buffer.subarray(0, length));
    buffer = grown;
  };
  const varint = (value: number) => {
    reserve(10);
    if (value < 0) {
      let rest = BigInt.asUintN(64, BigInt(value));
      for (; rest > 127n; rest >>= 7n) buffer[length++] = Number(rest & 127n) | 128;
      buffer[length++] = Number(rest);
      return;
    }
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) buffer[length++] = (rest % 128) | 128;
    buffer[length++] = rest;
  };
  const tag = (field: number, type: number) => varint(field * 8 + type);

  const writer: ProtobufWriter = {
    int(field, value) {
      tag(field, wire.varint);
      varint(value);
      return writer;
    },
    float(field, value) {
      tag(field, wire.fixed32);
      reserve(4);
      new DataView(buffer.buffer).setFloat32(length, value, true);
      length += 4;
      return writer;
    },
    string: (field, value) => writer.bytes(field, utf8.encode(value)),
    bytes(field, value) {
      tag(field, wire.bytes);
      varint(value.length);
      reserve(value.length);
      buffer.set(value, length);
      length += value.length;
      return writer;
    },
    message(field, write) {
      const nested = createProtobufWriter();
      write(nested);
      return writer.bytes(field, nested.finish());
    },
    finish: () => buffer.slice(0, length),
  };
  return writer;
}
