import type { Budget } from "./budget.ts";
import type { CallArguments, Value } from "./values.ts";

/** A filter; `args` are matched to `parameters` before it runs. */
export interface Filter {
  /** Absent: the filter takes `context.args` as they come. */
  readonly parameters?: readonly string[];
  run(value: Value, args: (Value | undefined)[], context: FilterContext): Value;
}

export interface FilterContext {
  readonly budget: Budget;
  readonly args: CallArguments;
  /** Applies another filter. */
  apply(name: string, value: Value, args: CallArguments): Value;
}

export const filter = (parameters: string, run: Filter["run"]): Filter => ({
  parameters: parameters === "" ? [] : parameters.split(" "),
  run,
});
