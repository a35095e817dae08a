export type { TokenHistory } from "./adjust-logits.ts";
export * from "./grammar/index.ts";
export { maskLogits } from "./mask-logits.ts";
export { createRandom, type Random } from "./random.ts";
export { sampleToken, samplingProbabilities } from "./sample-token.ts";
export { checkSamplingParams, type SamplingParams } from "./sampling-params.ts";
export { type StopMatcher, stopMatcher } from "./stop-matcher.ts";
export { type ScoredToken, type TokenLogprob, topLogprobs } from "./top-logprobs.ts";
