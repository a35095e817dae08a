/** A statement, or an expression whose value is printed. */
export type Statement =
  | { kind: "text"; text: string }
  | { kind: "print"; value: Expression }
  | { kind: "if"; branches: { test: Expression; body: Block }[]; otherwise: Block }
  | ForStatement
  | { kind: "set"; target: Expression; value: Expression }
  | { kind: "setBlock"; target: Expression; filters: Call[]; body: Block }
  | { kind: "macro"; name: string; parameters: Parameter[]; body: Block }
  | { kind: "call"; call: Expression; parameters: Parameter[]; body: Block }
  | { kind: "filter"; filters: Call[]; body: Block }
  | { kind: "with"; names: { target: Expression; value: Expression }[]; body: Block }
  | { kind: "block"; body: Block }
  | { kind: "break" }
  | { kind: "continue" };

export type Block = readonly Statement[];

export interface ForStatement {
  kind: "for";
  target: Expression;
  items: Expression;
  /** Leaves out the items for which it is false. */
  test: Expression | undefined;
  body: Block;
  /** What happens when there are no items. */
  otherwise: Block;
}

export type Expression =
  | { kind: "constant"; value: null | boolean | number | string }
  | { kind: "float"; value: number }
  | { kind: "name"; name: string }
  | { kind: "list" | "tuple"; items: Expression[] }
  | { kind: "dict"; entries: [Expression, Expression][] }
  | { kind: "attribute"; object: Expression; name: string }
  | { kind: "item"; object: Expression; key: Expression }
  | { kind: "slice"; object: Expression; bounds: (Expression | undefined)[] }
  | CallExpression
  | { kind: "filtered"; value: Expression; filter: Call }
  | { kind: "test"; value: Expression; test: Call; negated: boolean }
  | { kind: "not"; value: Expression }
  | { kind: "unary"; operator: string; value: Expression }
  | { kind: "and" | "or"; left: Expression; right: Expression }
  | { kind: "binary"; operator: string; left: Expression; right: Expression }
  /** `a < b <= c` holds when every neighbouring pair does. */
  | { kind: "compare"; first: Expression; rest: { operator: string; value: Expression }[] }
  | {
      kind: "conditional";
      test: Expression;
      value: Expression;
      otherwise: Expression | undefined;
    };

export interface CallExpression {
  kind: "callExpression";
  callee: Expression;
  args: Argument[];
}

/** A filter or test by its name. */
export interface Call {
  name: string;
  args: Argument[];
}

export type Argument =
  | { kind: "positional" | "spread" | "spreadNamed"; value: Expression }
  | { kind: "named"; name: string; value: Expression };

/** A parameter of a macro. */
export interface Parameter {
  name: string;
  fallback: Expression | undefined;
}
