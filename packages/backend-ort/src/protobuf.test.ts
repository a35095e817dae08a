import fc from "fast-check";
import { expect, test } from "vitest";
import { createProtobufWriter } from "./protobuf.ts";

/** Reads a varint as the specification describes it. */
function readVarint(bytes: Uint8Array): bigint {
  let value = 0n;
  bytes.forEach((byte, i) => {
    value |= BigInt(byte & 127) << BigInt(7 * i);
    expect(byte >= 128, `continuation bit of byte ${i}`).toBe(i < bytes.length - 1);
  });
  return BigInt.asIntN(64, value);
}

test("fields have the bytes of the protobuf documentation", () => {
  const bytes = createProtobufWriter()
    .int(1, 150)
    .string(2, "testing")
    .message(3, (nested) => nested.int(1, 150))
    .float(4, 1)
    .finish();
  const hex = Buffer.from(bytes).toString("hex");
  expect(hex).toBe(`089601${"120774657374696e67"}${"1a03089601"}${"250000803f"}`);
});

test("any safe integer survives", () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const bytes = createProtobufWriter().int(1, value).finish();
      expect(readVarint(bytes.subarray(1))).toBe(BigInt(value));
    }),
  );
});

test("long contents grow the buffer", () => {
  const content = Uint8Array.from({ length: 100_000 }, (_, i) => i);
  const bytes = createProtobufWriter().bytes(1, content).bytes(16, content).finish();
  expect(Buffer.compare(bytes.subarray(4, 100_004), content)).toBe(0);
  expect(Buffer.compare(bytes.subarray(100_009), content)).toBe(0);
});
