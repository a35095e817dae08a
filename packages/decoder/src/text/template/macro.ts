import type { Block, Expression, Parameter } from "./ast.ts";
import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";
import { createScope, type Scope } from "./scope.ts";
import { type CallArguments, Callable, orElse, Tuple, Undefined, type Value } from "./values.ts";

export interface MacroContext {
  readonly budget: Budget;
  evaluate(expression: Expression, scope: Scope): Value;
  renderBlock(block: Block, scope: Scope): string;
}

/** A macro, or the body of a `{% call %}`: renders its body with its parameters in scope. */
export function createMacro(
  parameters: readonly Parameter[],
  body: Block,
  outer: Scope,
  { budget, evaluate, renderBlock }: MacroContext,
): Callable {
  return new Callable(({ positional, named }: CallArguments) => {
    const scope = createScope(outer);
    const rest = new Map(named);
    parameters.forEach(({ name, fallback }, i) => {
      if (i < positional.length && rest.has(name)) {
        throw new TemplateFailure(`macro got multiple values for argument '${name}'`);
      }
      let value = i < positional.length ? positional[i] : rest.get(name);
      if (value === undefined && fallback) value = evaluate(fallback, scope);
      scope.set(
        name,
        orElse(value, () => new Undefined(`parameter '${name}'`)),
      );
      rest.delete(name);
    });
    const caller = rest.get("caller");
    if (caller !== undefined) scope.set("caller", caller);
    rest.delete("caller");
    scope.set("varargs", new Tuple(positional.slice(parameters.length)));
    scope.set("kwargs", rest);
    return budget.nested(() => renderBlock(body, scope));
  });
}
