import { getAttribute, getItem, slice } from "./access.ts";
import type { Argument, Block, Call, Expression, ForStatement, Statement } from "./ast.ts";
import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";
import { applyFilter } from "./filters.ts";
import { createLoop } from "./loop.ts";
import { createMacro } from "./macro.ts";
import { integerOf } from "./methods.ts";
import { binary, unary } from "./operators.ts";
import { pyStr } from "./python-text.ts";
import { createScope, type Scope } from "./scope.ts";
import { findTest } from "./tests.ts";
import {
  type CallArguments,
  Callable,
  isDict,
  isTrue,
  iterate,
  orElse,
  PlainObject,
  Tuple,
  toFloat,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** How a block ended: run to its end, or left by `break` or `continue`. */
type Ending = "end" | "break" | "continue";

/** Renders a parsed template. Throws TemplateFailure for what Python would raise, and at a limit. */
export function render(
  program: Block,
  variables: ReadonlyMap<string, Value>,
  budget: Budget,
): string {
  const macros = { budget, evaluate, renderBlock };
  return renderBlock(program, createScope(undefined, variables));

  function renderBlock(block: Block, scope: Scope): string {
    const out: string[] = [];
    runBlock(block, scope, out);
    return out.join("");
  }

  function runBlock(block: Block, scope: Scope, out: string[]): Ending {
    for (const statement of block) {
      const ending = run(statement, scope, out);
      if (ending !== "end") return ending;
    }
    return "end";
  }

  function run(statement: Statement, scope: Scope, out: string[]): Ending {
    budget.spend(1);
    switch (statement.kind) {
      case "text":
        emit(statement.text, out);
        return "end";
      case "print":
        emit(pyStr(evaluate(statement.value, scope), budget), out);
        return "end";
      case "if": {
        const branch = statement.branches.find(({ test }) => isTrue(evaluate(test, scope)));
        return runBlock(branch?.body ?? statement.otherwise, scope, out);
      }
      case "for":
        return runLoop(statement, scope, out);
      case "set":
        assign(statement.target, evaluate(statement.value, scope), scope);
        return "end";
      case "setBlock": {
        const text = renderBlock(statement.body, createScope(scope));
        assign(statement.target, filtered(text, statement.filters, scope), scope);
        return "end";
      }
      case "filter": {
        const text = renderBlock(statement.body, createScope(scope));
        emit(pyStr(filtered(text, statement.filters, scope), budget), out);
        return "end";
      }
      case "macro": {
        const { name, parameters, body } = statement;
        scope.set(name, createMacro(parameters, body, scope, macros));
        return "end";
      }
      case "call": {
        const caller = createMacro(statement.parameters, statement.body, scope, macros);
        emit(pyStr(evaluateCall(statement.call, scope, caller), budget), out);
        return "end";
      }
      case "with": {
        const inner = createScope(scope);
        for (const { target, value } of statement.names) {
          assign(target, evaluate(value, scope), inner);
        }
        return runBlock(statement.body, inner, out);
      }
      case "block":
        return runBlock(statement.body, createScope(scope), out);
      default:
        return statement.kind;
    }
  }

  function emit(text: string, out: string[]): void {
    budget.spendText(text.length);
    out.push(text);
  }

  function runLoop(statement: ForStatement, scope: Scope, out: string[]): Ending {
    const { target, test, body, otherwise } = statement;
    let items = iterate(evaluate(statement.items, scope), budget);
    budget.spend(items.length);
    if (test) {
      items = items.filter((item) => {
        const inner = createScope(scope);
        assign(target, item, inner);
        return isTrue(evaluate(test, inner));
      });
    }
    if (items.length === 0) return runBlock(otherwise, createScope(scope), out);
    const loop = createLoop(items, budget);
    for (let i = 0; i < items.length; i++) {
      const inner = createScope(scope);
      loop.moveTo(i);
      inner.set("loop", loop.object);
      assign(target, items[i]!, inner);
      if (runBlock(body, inner, out) === "break") break;
    }
    return "end";
  }

  function assign(target: Expression, value: Value, scope: Scope): void {
    if (target.kind === "name") scope.set(target.name, value);
    else if (target.kind === "tuple") {
      const items = iterate(value, budget);
      if (items.length !== target.items.length) {
        throw new TemplateFailure(
          `cannot unpack ${items.length} values into ${target.items.length} names`,
        );
      }
      target.items.forEach((part, i) => {
        assign(part, items[i]!, scope);
      });
    } else if (target.kind === "attribute") {
      const object = evaluate(target.object, scope);
      if (!(object instanceof PlainObject) || !object.write) {
        throw new TemplateFailure("cannot assign attribute on non-namespace object");
      }
      object.write(target.name, value);
    }
  }

  function evaluate(expression: Expression, scope: Scope): Value {
    budget.spend(1);
    switch (expression.kind) {
      case "constant":
        return expression.value;
      case "float":
        return toFloat(expression.value);
      case "name": {
        const { name } = expression;
        return orElse(scope.get(name), () => new Undefined(`'${name}'`));
      }
      case "list":
        return expression.items.map((item) => evaluate(item, scope));
      case "tuple":
        return new Tuple(expression.items.map((item) => evaluate(item, scope)));
      case "dict":
        return new Map(
          expression.entries.map(([key, item]) => [evaluate(key, scope), evaluate(item, scope)]),
        );
      case "attribute":
        return getAttribute(evaluate(expression.object, scope), expression.name, budget);
      case "item":
        return getItem(evaluate(expression.object, scope), evaluate(expression.key, scope), budget);
      case "slice": {
        const object = evaluate(expression.object, scope);
        const [start, stop, step] = expression.bounds.map((bound) => sliceBound(bound, scope));
        return slice(object, start ?? null, stop ?? null, step ?? null, budget);
      }
      case "callExpression":
        return evaluateCall(expression, scope);
      case "filtered":
        return filtered(evaluate(expression.value, scope), [expression.filter], scope);
      case "test": {
        const { test, negated } = expression;
        const value = evaluate(expression.value, scope);
        const { positional } = argumentsOf(test.args, scope);
        const argument = orElse(positional[0], () => null);
        return findTest(test.name)(value, argument, budget) !== negated;
      }
      case "not":
        return !isTrue(evaluate(expression.value, scope));
      case "unary":
        return unary(expression.operator, evaluate(expression.value, scope));
      case "and": {
        const left = evaluate(expression.left, scope);
        return isTrue(left) ? evaluate(expression.right, scope) : left;
      }
      case "or": {
        const left = evaluate(expression.left, scope);
        return isTrue(left) ? left : evaluate(expression.right, scope);
      }
      case "binary": {
        const left = evaluate(expression.left, scope);
        return binary(expression.operator, left, evaluate(expression.right, scope), budget);
      }
      case "compare": {
        let left = evaluate(expression.first, scope);
        return expression.rest.every(({ operator, value }) => {
          const right = evaluate(value, scope);
          const holds = isTrue(binary(operator, left, right, budget));
          left = right;
          return holds;
        });
      }
      case "conditional": {
        const { test, value, otherwise } = expression;
        if (isTrue(evaluate(test, scope))) return evaluate(value, scope);
        if (otherwise) return evaluate(otherwise, scope);
        return new Undefined("the inline if-expression without else");
      }
    }
  }

  function sliceBound(bound: Expression | undefined, scope: Scope): number | null {
    const value = bound === undefined ? null : evaluate(bound, scope);
    return value === null ? null : integerOf(value, 0, "slice index");
  }

  function evaluateCall(expression: Expression, scope: Scope, caller?: Callable): Value {
    if (expression.kind !== "callExpression") throw new TemplateFailure("expected a call");
    const callee = evaluate(expression.callee, scope);
    const { positional, named } = argumentsOf(expression.args, scope);
    if (callee instanceof Undefined) throw new TemplateFailure(`${callee.what} is undefined`);
    if (!(callee instanceof Callable)) {
      throw new TemplateFailure(`'${typeName(callee)}' object is not callable`);
    }
    if (!caller) return callee.call({ positional, named });
    return callee.call({ positional, named: new Map([...named, ["caller", caller]]) });
  }

  function argumentsOf(args: readonly Argument[], scope: Scope): CallArguments {
    const positional: Value[] = [];
    const named = new Map<string, Value>();
    for (const argument of args) {
      const value = evaluate(argument.value, scope);
      if (argument.kind === "positional") positional.push(value);
      else if (argument.kind === "named") named.set(argument.name, value);
      else if (argument.kind === "spread")
        for (const item of iterate(value, budget)) positional.push(item);
      else if (isDict(value)) for (const [key, item] of value) named.set(pyStr(key, budget), item);
      else throw new TemplateFailure("** needs a mapping");
    }
    return { positional, named };
  }

  function filtered(value: Value, filters: readonly Call[], scope: Scope): Value {
    return filters.reduce<Value>(
      (result, { name, args }) => applyFilter(name, result, argumentsOf(args, scope), budget),
      value,
    );
  }
}
