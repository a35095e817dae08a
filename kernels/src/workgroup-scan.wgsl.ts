/**
 * WGSL for kernels of `lanes` threads: `sumBefore(lane, value)`, the sum of the values of all lower
 * lanes, and after it `sumOfAll()`. All threads must call it; one barrier per halving.
 */
export const scanCode = (lanes: number): string => /* wgsl */ `
var<workgroup> scanned: array<u32, ${lanes}>;
fn sumBefore(lane: u32, value: u32) -> u32 {
  workgroupBarrier();
  scanned[lane] = value;
  workgroupBarrier();
  for (var step = 1u; step < ${lanes}u; step *= 2u) {
    var sum = scanned[lane];
    if (lane >= step) { sum += scanned[lane - step]; }
    workgroupBarrier();
    scanned[lane] = sum;
    workgroupBarrier();
  }
  return scanned[lane] - value;
}
fn sumOfAll() -> u32 { return scanned[${lanes - 1}u]; }
`;
