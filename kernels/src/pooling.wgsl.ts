import type { Pooling } from "./pooling.ts";

/**
 * WGSL: `pooled(row, k, at)`, what pooling makes of the k-th token of a row among those that
 * `isScored(row, k)` names, which must be the first ones; `at` is where the row's numbers stand in
 * `values`, by slot. Reads `order`.
 */
export const pooledCode = ({ kind, size }: Pooling): string => /* wgsl */ `
fn pooled(row: Row, k: u32, at: u32) -> f32 {
  let low = k - min(k, ${(size - 1) / 2}u);
  let high = min(row.length - 1u, k + ${(size - 1) / 2}u);
  var result = ${kind === "avg" ? "0.0" : "-3.4e38"};
  for (var i = low; i <= high; i++) {
    if (i > k && !isScored(row, i)) { break; }
    let value = values[at + order[row.begin + i]];
    result = ${kind === "avg" ? "result + value" : "max(result, value)"};
  }
  return result${kind === "avg" ? ` / ${size}.0` : ""};
}
`;
