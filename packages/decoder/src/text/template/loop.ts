import { TemplateFailure } from "./failure.ts";
import { Callable, equals, orElse, PlainObject, Tuple, Undefined, type Value } from "./values.ts";

/** The `loop` of a for-loop over `items`. */
export function createLoop(items: readonly Value[]): { at(index: number): PlainObject } {
  const length = items.length;
  let index = 0;
  let previous: Value | undefined;

  const cycle = new Callable(({ positional }) => {
    const item = positional[index % positional.length];
    if (item === undefined) throw new TemplateFailure("no items for cycling given");
    return item;
  });
  const changed = new Callable(({ positional }) => {
    const value = new Tuple(positional);
    const differs = previous === undefined || !equals(previous, value);
    previous = value;
    return differs;
  });

  return {
    at(i) {
      index = i;
      return new PlainObject(
        new Map<string, Value>([
          ["index", i + 1],
          ["index0", i],
          ["revindex", length - i],
          ["revindex0", length - i - 1],
          ["first", i === 0],
          ["last", i === length - 1],
          ["length", length],
          ["depth", 1],
          ["depth0", 0],
          ["previtem", orElse(items[i - 1], () => new Undefined("the item before the first"))],
          ["nextitem", orElse(items[i + 1], () => new Undefined("the item behind the last"))],
          ["cycle", cycle],
          ["changed", changed],
        ]),
      );
    },
  };
}
