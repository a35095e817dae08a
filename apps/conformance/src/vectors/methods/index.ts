import type { VectorCase } from "../case.ts";
import type { BudgetMethod, Method, MethodAdapter, MethodContext, Params } from "../method.ts";
import { attention } from "./attention.ts";
import { combinators } from "./combinators.ts";
import { mainRoad } from "./main-road.ts";
import { replay } from "./replay.ts";
import { secondStage } from "./second-stage.ts";
import { statistics } from "./statistics.ts";

/** Every method that we can run, by the name that the cases use. */
const methods: Readonly<Record<string, MethodAdapter>> = {
  ...mainRoad,
  ...attention,
  ...statistics,
  ...secondStage,
  ...replay,
  ...combinators,
};

export const adapterOf = (method: string): MethodAdapter => methods[method] ?? {};

/** Policy and target of a case of kind keep, scores or model. */
export const methodOf = (vector: VectorCase): Method =>
  policyOf(vector, vector.method, vector.params);

/** Budget, target and protection of a case of kind budget. */
export const budgetOf = (vector: VectorCase): BudgetMethod =>
  adapterOf(vector.method).budget?.(vector.params, vector) ?? {
    skip: `no budget for method ${vector.method}`,
  };

function policyOf(vector: VectorCase, method: string, params: Params): Method {
  const context: MethodContext = {
    vector,
    policyOf(scorer) {
      const { method: inner, ...own } = scorer as Params & { readonly method: string };
      const made = policyOf(vector, inner, own);
      return "skip" in made ? made : made.policy;
    },
  };
  return adapterOf(method).policy?.(params, context) ?? { skip: `no policy for method ${method}` };
}
