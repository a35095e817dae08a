import type { Budget } from "./budget.ts";
import { equals } from "./comparison.ts";
import { TemplateFailure } from "./failure.ts";
import { Callable, orElse, PlainObject, Tuple, Undefined, type Value } from "./values.ts";

/** The `loop` of a for-loop: one object, whose attributes follow the loop. */
export interface Loop {
  readonly object: PlainObject;
  moveTo(index: number): void;
}

export function createLoop(items: readonly Value[], budget: Budget): Loop {
  const length = items.length;
  let index = 0;
  let previous: Value | undefined;

  const cycle = new Callable(({ positional }) =>
    orElse(positional[index % positional.length], () => {
      throw new TemplateFailure("no items for cycling given");
    }),
  );
  const changed = new Callable(({ positional }) => {
    const value = new Tuple(positional);
    const differs = previous === undefined || !equals(previous, value, budget);
    previous = value;
    return differs;
  });

  function read(name: string): Value | undefined {
    switch (name) {
      case "index":
        return index + 1;
      case "index0":
        return index;
      case "revindex":
        return length - index;
      case "revindex0":
        return length - index - 1;
      case "first":
        return index === 0;
      case "last":
        return index === length - 1;
      case "length":
        return length;
      case "depth":
        return 1;
      case "depth0":
        return 0;
      case "previtem":
        return orElse(items[index - 1], () => new Undefined("the item before the first"));
      case "nextitem":
        return orElse(items[index + 1], () => new Undefined("the item behind the last"));
      case "cycle":
        return cycle;
      case "changed":
        return changed;
      default:
        return undefined;
    }
  }

  return {
    object: new PlainObject(read),
    moveTo(i) {
      index = i;
    },
  };
}
