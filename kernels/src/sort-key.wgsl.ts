/**
 * WGSL: `sortKey(x)`, an integer that rises with x, the same for +0 and −0; `isInfinite(x)`, whether
 * x is +∞. Bits, because drivers may assume that no number is infinite.
 */
export const sortKeyCode = /* wgsl */ `
const infiniteKey = 0xff800000u;
fn sortKey(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}
fn isInfinite(x: f32) -> bool { return bitcast<u32>(x) == 0x7f800000u; }
`;
