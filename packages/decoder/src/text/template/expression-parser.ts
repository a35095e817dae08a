import type { Argument, Call, CallExpression, Expression } from "./ast.ts";
import type { TokenStream } from "./token-stream.ts";

export interface ExpressionParser {
  expression(): Expression;
  /** One expression, or several with commas as a tuple. */
  tuple(options?: { conditional?: boolean; parenthesised?: boolean }): Expression;
  /** What can be assigned to: a name, `namespace.name`, or a tuple of targets. */
  target(): Expression;
  postfix(of: Expression): Expression;
  primary(): Expression;
  filterCall(): Call;
}

const CONSTANTS: ReadonlyMap<string, null | boolean> = new Map([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
]);

const COMPARISONS = ["==", "!=", "<=", ">=", "<", ">"];
/** Names that can follow a test, so that they are not its argument. */
const NOT_AN_ARGUMENT = new Set(["else", "or", "and", "is"]);

/** Jinja's expressions, from the weakest operator to the strongest. */
export function expressionParser(tokens: TokenStream): ExpressionParser {
  const { is, take, expect, fail, peek } = tokens;
  const operator = (value: string): boolean => take("operator", value) !== undefined;
  const keyword = (value: string): boolean => take("name", value) !== undefined;

  function expression(): Expression {
    let value = or();
    while (keyword("if")) {
      const test = or();
      value = {
        kind: "conditional",
        test,
        value,
        otherwise: keyword("else") ? expression() : undefined,
      };
    }
    return value;
  }

  function or(): Expression {
    let left = and();
    while (keyword("or")) left = { kind: "or", left, right: and() };
    return left;
  }

  function and(): Expression {
    let left = not();
    while (keyword("and")) left = { kind: "and", left, right: not() };
    return left;
  }

  function not(): Expression {
    return keyword("not") ? { kind: "not", value: not() } : comparison();
  }

  function comparison(): Expression {
    const first = sum();
    const rest: { operator: string; value: Expression }[] = [];
    for (;;) {
      const found = COMPARISONS.find(operator) ?? membership();
      if (!found) break;
      rest.push({ operator: found, value: sum() });
    }
    return rest.length > 0 ? { kind: "compare", first, rest } : first;
  }

  function membership(): string | undefined {
    if (keyword("in")) return "in";
    if (!is("name", "not") || !is("name", "in", 1)) return undefined;
    take("name");
    take("name");
    return "not in";
  }

  function binary(operators: readonly string[], operand: () => Expression): Expression {
    let left = operand();
    for (let found = operators.find(operator); found; found = operators.find(operator)) {
      left = { kind: "binary", operator: found, left, right: operand() };
    }
    return left;
  }

  const sum = (): Expression => binary(["+", "-"], concatenation);
  const concatenation = (): Expression => binary(["~"], product);
  const product = (): Expression => binary(["*", "//", "/", "%"], power);
  const power = (): Expression => binary(["**"], () => unary(true));

  function unary(withFilters: boolean): Expression {
    const sign = ["-", "+"].find(operator);
    const value: Expression = sign
      ? { kind: "unary", operator: sign, value: unary(false) }
      : primary();
    const node = postfix(value);
    return withFilters ? filtersAndTests(node) : node;
  }

  function primary(): Expression {
    const token = peek();
    if (take("name")) {
      const constant = CONSTANTS.get(token!.value);
      if (constant !== undefined) return { kind: "constant", value: constant };
      return { kind: "name", name: token!.value };
    }
    if (take("integer")) return { kind: "constant", value: Number(token!.value) };
    if (take("float")) return { kind: "float", value: Number(token!.value) };
    if (take("string")) {
      let value = token!.value;
      while (is("string")) value += take("string")!.value;
      return { kind: "constant", value };
    }
    if (operator("(")) {
      const inner = tuple({ parenthesised: true });
      expect("operator", ")");
      return inner;
    }
    if (operator("[")) return { kind: "list", items: listUntil("]", expression) };
    if (operator("{")) {
      const entry = (): [Expression, Expression] => {
        const key = expression();
        expect("operator", ":");
        return [key, expression()];
      };
      return { kind: "dict", entries: listUntil("}", entry) };
    }
    return fail(`unexpected ${token?.value ?? "end of the template"}`);
  }

  /** Items with commas between them and perhaps behind the last. */
  function listUntil<T>(end: string, item: () => T): T[] {
    const items: T[] = [];
    while (!operator(end)) {
      if (items.length > 0) {
        expect("operator", ",");
        if (operator(end)) break;
      }
      items.push(item());
    }
    return items;
  }

  function tuple({ conditional = true, parenthesised = false } = {}): Expression {
    const items: Expression[] = [];
    let isTuple = false;
    while (!endsTuple()) {
      items.push(conditional ? expression() : or());
      if (!operator(",")) break;
      isTuple = true;
    }
    if (!isTuple && items.length === 1) return items[0]!;
    if (items.length === 0 && !parenthesised) fail("expected an expression");
    return { kind: "tuple", items };
  }

  function endsTuple(): boolean {
    return is("endTag") || is("operator", ")");
  }

  function target(): Expression {
    const items: Expression[] = [];
    let isTuple = false;
    while (!(endsTuple() || is("operator", "=") || is("name", "in"))) {
      items.push(singleTarget());
      if (!operator(",")) break;
      isTuple = true;
    }
    return isTuple || items.length !== 1 ? { kind: "tuple", items } : items[0]!;
  }

  function singleTarget(): Expression {
    if (operator("(")) {
      const inner = target();
      expect("operator", ")");
      return inner;
    }
    const { value: name } = expect("name");
    if (CONSTANTS.has(name)) fail(`cannot assign to ${name}`);
    if (!operator(".")) return { kind: "name", name };
    return { kind: "attribute", object: { kind: "name", name }, name: expect("name").value };
  }

  function postfix(of: Expression): Expression {
    let node = of;
    for (;;) {
      if (operator(".")) {
        const index = take("integer");
        node = index
          ? { kind: "item", object: node, key: { kind: "constant", value: Number(index.value) } }
          : { kind: "attribute", object: node, name: expect("name").value };
      } else if (operator("[")) node = subscript(node);
      else if (is("operator", "(")) node = call(node);
      else return node;
    }
  }

  function subscript(object: Expression): Expression {
    const bounds: (Expression | undefined)[] = [];
    let isSlice = false;
    while (!operator("]")) {
      bounds.push(is("operator", ":") ? undefined : expression());
      if (operator(":")) isSlice = true;
      else {
        expect("operator", "]");
        break;
      }
    }
    if (isSlice && bounds.length <= 3) return { kind: "slice", object, bounds };
    const [key] = bounds;
    if (bounds.length !== 1 || key === undefined) fail("expected one subscript");
    return { kind: "item", object, key: key! };
  }

  function call(callee: Expression): CallExpression {
    return { kind: "callExpression", callee, args: callArguments() };
  }

  function callArguments(): Argument[] {
    expect("operator", "(");
    return listUntil<Argument>(")", () => {
      if (operator("*")) return { kind: "spread", value: expression() };
      if (operator("**")) return { kind: "spreadNamed", value: expression() };
      if (is("name") && is("operator", "=", 1)) {
        const name = take("name")!.value;
        take("operator");
        return { kind: "named", name, value: expression() };
      }
      return { kind: "positional", value: expression() };
    });
  }

  function filtersAndTests(of: Expression): Expression {
    let node = of;
    for (;;) {
      if (operator("|")) node = { kind: "filtered", value: node, filter: filterCall() };
      else if (keyword("is")) node = test(node);
      else if (is("operator", "(")) node = call(node);
      else return node;
    }
  }

  function filterCall(): Call {
    const name = expect("name").value;
    return { name, args: is("operator", "(") ? callArguments() : [] };
  }

  function test(value: Expression): Expression {
    const negated = keyword("not");
    const name = expect("name").value;
    let args: Argument[] = [];
    const token = peek();
    const startsArgument =
      token?.type === "name"
        ? !NOT_AN_ARGUMENT.has(token.value)
        : token?.type === "string" ||
          token?.type === "integer" ||
          token?.type === "float" ||
          is("operator", "[") ||
          is("operator", "{");
    if (is("operator", "(")) args = callArguments();
    else if (startsArgument && !followsTest()) {
      args = [{ kind: "positional", value: postfix(primary()) }];
    }
    return { kind: "test", value, test: { name, args }, negated };
  }

  /** `x is defined not in y` and `… is defined in y` compare the test; `if` starts a condition. */
  function followsTest(): boolean {
    return is("name", "if") || is("name", "in") || (is("name", "not") && is("name", "in", 1));
  }

  return { expression, tuple, target, postfix, primary, filterCall };
}
