export type AnyTypedArray = Exclude<NodeJS.TypedArray, bigint[]>;

/**
 * The typed arrays inside plain data that are not views of a SharedArrayBuffer, in an order that
 * depends on the data's structure only: of a structured clone the same arrays come in the same order.
 */
export function unsharedArrays(data: unknown): AnyTypedArray[] {
  const found: AnyTypedArray[] = [];
  const visited = new Set<unknown>();
  const visit = (value: unknown) => {
    if (typeof value !== "object" || value === null || visited.has(value)) return;
    visited.add(value);
    if (!ArrayBuffer.isView(value)) for (const part of Object.values(value)) visit(part);
    else if (!(value.buffer instanceof SharedArrayBuffer)) found.push(value as AnyTypedArray);
  };
  visit(data);
  return found;
}
