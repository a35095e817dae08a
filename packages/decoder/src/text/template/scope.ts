import type { Value } from "./values.ts";

/** Names and their values; what is not here is looked up outside. */
export interface Scope {
  get(name: string): Value | undefined;
  set(name: string, value: Value): void;
}

export function createScope(
  outer: Scope | undefined,
  variables: ReadonlyMap<string, Value> = new Map(),
): Scope {
  const own = new Map(variables);
  return {
    get: (name) => (own.has(name) ? own.get(name) : outer?.get(name)),
    set: (name, value) => {
      own.set(name, value);
    },
  };
}
