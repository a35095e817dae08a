export { type EvalSummary, summarise } from "./aggregate.ts";
export { type EvalProgress, type EvaluateOptions, evaluate } from "./evaluate.ts";
export { type EvaluateSampleOptions, evaluateSample } from "./evaluate-sample.ts";
export {
  type GenerateOptions,
  generateSamples,
  type TaskFamily,
  taskFamilies,
} from "./generate/generate-samples.ts";
export type { CountTokens } from "./generate/haystack.ts";
export { type NeedleGridOptions, needleDepth, needleGrid } from "./needle-grid.ts";
export { type Perplexity, type PerplexityOptions, perplexity } from "./perplexity.ts";
export { type CalibrationOptions, calibrationSamples } from "./profile/calibration-samples.ts";
export {
  type AnswerPlace,
  answerObserved,
  compressSample,
  observeSample,
} from "./profile/observe-sample.ts";
export {
  decodePartialState,
  encodePartialState,
  type PartialState,
  type StateArrays,
} from "./profile/partial-state.ts";
export {
  type PartialStore,
  type ResumableWork,
  runResumable,
  type WorkProgress,
} from "./profile/resumable.ts";
export { type EvalRecord, parseRecords, recordKey } from "./record.ts";
export { createReport, type Report, type ReportOptions } from "./report/report.ts";
export { type EvalSample, type EvalTurn, parseSamples } from "./sample.ts";
export { scoreAnswer } from "./score-answer.ts";
export { type EvalVariant, fullCache } from "./variant.ts";
