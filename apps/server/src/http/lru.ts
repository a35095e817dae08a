/** A map that keeps the `capacity` entries used last and makes the others anew. */
export function lru<V>(capacity: number) {
  const entries = new Map<string, V>();
  return (key: string, make: () => V): V => {
    let value = entries.get(key);
    if (value === undefined) value = make();
    else entries.delete(key);
    entries.set(key, value);
    if (entries.size > capacity) entries.delete(entries.keys().next().value!);
    return value;
  };
}
