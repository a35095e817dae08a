/** One bit a position for each row, rows padded to whole bytes. */
export function keptBits(rows: readonly Int32Array[], numPositions: number): Uint8Array {
  const rowBytes = Math.ceil(numPositions / 8);
  const bits = new Uint8Array(rows.length * rowBytes);
  for (const [row, positions] of rows.entries())
    for (const position of positions)
      if (position < numPositions) bits[row * rowBytes + (position >> 3)]! |= 1 << (position & 7);
  return bits;
}
