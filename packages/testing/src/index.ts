export { type CompressedOnce, compressOnce } from "./compress-once.ts";
export type { RandomTokens, TokenVectors } from "./random-tokens.ts";
export { type TestBackendOptions, testBackend } from "./test-backend.ts";
export { type TestBudgetOptions, testBudget } from "./test-budget.ts";
export { type TestPolicyOptions, testPolicy } from "./test-policy.ts";
export { type TestScorerOptions, testScorer } from "./test-scorer.ts";
export { type TestSelectorOptions, testSelector } from "./test-selector.ts";
export { type TokenCache, type TokenCacheOptions, tokenCache } from "./token-cache.ts";
