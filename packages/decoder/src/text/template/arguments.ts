import { TemplateFailure } from "./failure.ts";
import { type CallArguments, Callable, type Value } from "./values.ts";

/**
 * Matches arguments to parameter names, as a Python function with those parameters would; what is
 * not given is undefined.
 */
export function bind(
  name: string,
  parameters: readonly string[],
  { positional, named }: CallArguments,
): (Value | undefined)[] {
  if (positional.length > parameters.length) {
    throw new TemplateFailure(`${name}() takes at most ${parameters.length} arguments`);
  }
  const bound: (Value | undefined)[] = [...positional];
  for (const [key, value] of named) {
    const index = parameters.indexOf(key);
    if (index < 0) throw new TemplateFailure(`${name}() got an unexpected argument '${key}'`);
    if (index < positional.length) {
      throw new TemplateFailure(`${name}() got multiple values for argument '${key}'`);
    }
    bound[index] = value;
  }
  return bound;
}

/** A callable with named parameters. */
export function callable(
  name: string,
  parameters: readonly string[],
  body: (...args: (Value | undefined)[]) => Value,
): Callable {
  return new Callable((args) => body(...bind(name, parameters, args)));
}
