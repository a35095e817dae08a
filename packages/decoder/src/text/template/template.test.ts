import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createBudget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";
import { createGlobals } from "./globals.ts";
import { render } from "./interpreter.ts";
import { parseTemplate } from "./parser.ts";
import { toValue } from "./values.ts";

// What Python's jinja2 renders, in the environment that chat templates run in.
const fixture = JSON.parse(
  readFileSync(new URL("../__fixtures__/jinja.json", import.meta.url), "utf8"),
) as {
  variables: Record<string, unknown>;
  cases: [template: string, output: string | null, error?: string][];
};

function renderWith(template: string, variables: Record<string, unknown>): string {
  const budget = createBudget();
  const values = createGlobals(budget, () => new Date());
  for (const [name, data] of Object.entries(variables)) values.set(name, toValue(data));
  return render(parseTemplate(template), values, budget);
}

describe("templates that render", () => {
  const cases = fixture.cases.filter(([, output]) => output !== null);
  it.each(cases)("%j", (template, output) => {
    expect(renderWith(template, fixture.variables)).toBe(output);
  });
});

describe("templates that fail", () => {
  const cases = fixture.cases.filter(([, output]) => output === null);
  it.each(cases)("%j", (template) => {
    expect(() => renderWith(template, fixture.variables)).toThrow(TemplateFailure);
  });
});

it("says in which line the syntax is wrong", () => {
  expect(() => renderWith("a\n{% if x %}\nb\n{% endfor %}", {})).toThrow("line 4");
});
