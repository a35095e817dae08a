import { type GrammarSymbol, one, type Rule, type Sequence, text } from "./grammar.ts";
import { space } from "./json-grammar.ts";

export interface PropertyGrammar {
  readonly name: string;
  readonly required: boolean;
  readonly value: GrammarSymbol;
}

/** An object with these properties in this order; those that are not required may be left out. */
export function objectOf(properties: readonly PropertyGrammar[]): Sequence {
  const end: Sequence = [space, ...text("}")];
  /** What may follow before the next property: behind none, and behind at least one. */
  let first: Rule = { alternatives: [end] };
  let later: Rule = { alternatives: [end] };
  for (const { name, required, value } of properties.toReversed()) {
    const member: Sequence = [...text(`${JSON.stringify(name)}:`), space, value, one(later)];
    const skippedFirst = required ? [] : first.alternatives;
    const skippedLater = required ? [] : later.alternatives;
    first = { alternatives: [[space, ...member], ...skippedFirst] };
    later = { alternatives: [[...text(","), space, ...member], ...skippedLater] };
  }
  return [...text("{"), one(first)];
}
