import { dotRows } from "./row-math.ts";

/** XᵀX of rows X [count, width]: [width, width]. */
export function productsOf(rows: Float64Array, count: number, width: number): Float64Array {
  const columns = new Float64Array(rows.length);
  for (let j = 0; j < count; j++)
    for (let c = 0; c < width; c++) columns[c * count + j] = rows[j * width + c]!;
  const matrix = { data: columns, stride: count };
  const out = new Float64Array(width * width);
  dotRows(matrix, width, matrix, width, count, { data: out, stride: width });
  return out;
}

const block = 128;

/** ‖M x‖² of every row x of rows [n, width], for M [height, width]: [n]. */
export function mappedSquares(
  matrix: Float64Array,
  height: number,
  rows: Float64Array,
  width: number,
): Float64Array {
  const out = new Float64Array(rows.length / width);
  const products = { data: new Float64Array(height * block), stride: block };
  for (let from = 0; from < out.length; from += block) {
    const count = Math.min(block, out.length - from);
    const chosen = { data: rows.subarray(from * width), stride: width };
    dotRows({ data: matrix, stride: width }, height, chosen, count, width, products);
    for (let r = 0; r < height; r++)
      for (let j = 0; j < count; j++) out[from + j]! += products.data[r * block + j]! ** 2;
  }
  return out;
}
