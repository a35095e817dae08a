export type { CapturedCache, CapturedState } from "./captured-cache.ts";
export { type RecordedCompression, recordCompression } from "./compression.ts";
export {
  type Capture,
  type CaptureRequest,
  createEngine,
  type Engine,
  type EngineOptions,
  type SchedulerOptions,
} from "./engine.ts";
export type { EngineCounters, EngineStats } from "./engine-stats.ts";
export type { Explanation } from "./explain.ts";
export type { GenerationStream } from "./generation.ts";
export type {
  EndEvent,
  FinishReason,
  GenerationChoice,
  GenerationEvent,
  GenerationResult,
  KvUsage,
  Timings,
  TokenEvent,
  Usage,
} from "./generation-event.ts";
export { createObservation, type ObservedPart, type ObservedTokens } from "./observation.ts";
export type { PrefixTier, ReadPrefix, WritePrefix } from "./prefix-tier.ts";
export type { PromptLogprob } from "./prompt-scores.ts";
export type { ChatPrompt, GenerationRequest, StopConditions } from "./request.ts";
export { createRunner, type OpenOptions, type Runner, type SequenceRunner } from "./runner.ts";
export type { Runtime, RuntimeOptions, ServedModel } from "./runtime.ts";
export type { Session } from "./session.ts";
export { createMemorySwap } from "./swap-space.ts";
export { TRACE_VERSION, type TraceEvent, type TraceOptions } from "./trace.ts";
