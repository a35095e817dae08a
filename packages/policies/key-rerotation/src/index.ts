import { uniform } from "@kvcache/budget-uniform";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { keyNorm } from "@kvcache/scorers";
import { keyRerotation as rerotate, topK } from "@kvcache/selectors";

export interface KeyRerotationOptions {
  /** Decides what stays; null: the tokens of shortest keys. */
  readonly policy?: EvictionPolicy | null;
}

const byKeyNorm = /* @__PURE__ */ definePolicy({
  name: "key-norm",
  paper: "none",
  scorer: keyNorm(),
  budget: uniform(),
  selector: topK(),
  trigger: { prefill: true, pressure: false },
  protect: { sinks: 0, recent: 0 },
  queryAware: false,
  options: {},
});

/**
 * Key re-rotation — move what another policy keeps together, to the positions 0, 1, 2 …
 * Kept keys are rotated by as much as their tokens move, and the sequence goes on behind them, so
 * that positions never outrun what the model was trained on.
 * The rule of kvpress' KeyRerotationPress, after SinkCache and FINCH; no paper of its own. Differs
 * from the paper: heads that keep fewer tokens than others leave the last positions empty.
 */
export const keyRerotation = ({ policy = null }: KeyRerotationOptions = {}) => {
  const wrapped = policy === null ? byKeyNorm : checkPolicy("policy", policy);
  const { scorer, budget, selector, transform, trigger, protect, queryAware } = wrapped;
  return definePolicy({
    name: "key-rerotation",
    paper: "https://github.com/NVIDIA/kvpress",
    scorer,
    budget,
    selector,
    transform: rerotate(transform),
    trigger,
    protect,
    queryAware,
    options: { policy: policyOption(policy) },
  });
};
