#include "kernel-ops.h"

#include <cstring>

#include "attention-spread.h"
#include "block-schedule.h"
#include "compact.h"
#include "defensive-score.h"
#include "draw-tokens.h"
#include "key-diff.h"
#include "key-norm.h"
#include "key-redundancy.h"
#include "lag-spread.h"
#include "native-call.h"
#include "nearest-kept.h"
#include "projected-value-norm.h"
#include "query-attention.h"
#include "spread-score.h"
#include "top-k.h"
#include "window-score.h"
#include "window-importance.h"
#include "window-sums.h"

namespace kv::ort {

void KeyNormOp::compute(Context& context) const {
  NativeCall call(context, 1, 2, 0);
  const Span<float> scores = call.output<float>(0);
  keyNorm(call.rows(scores.size), scores.data, context.parallelFor());
}

void KeyDiffOp::compute(Context& context) const {
  NativeCall call(context, 1, 2, 0);
  const Span<float> scores = call.output<float>(0);
  keyDiff(call.rows(scores.size), scores.data, context.parallelFor());
}

void LagSpreadOp::compute(Context& context) const {
  NativeCall call(context, 1, 5, 0);
  const Span<float> scores = call.output<float>(0);
  const LagSpreadCall spread{call.rows(scores.size), call.integer(2), call.integer(3),
                             call.integer(4) != 0, scores.data};
  call.require(checkLagSpread(spread));
  lagSpread(spread, context.parallelFor());
}

void NearestKeptOp::compute(Context& context) const {
  NativeCall call(context, 2, 2, 0);
  const Span<uint32_t> nearest = call.output<uint32_t>(0);
  const Span<float> similarity = call.output<float>(1);
  context.require(nearest.size == similarity.size, "the outputs must have one length");
  NearestKeptCall merge{call.rows(nearest.size), nullptr,      nullptr, 0,
                        nearest.data,            similarity.data};
  const Span<const uint32_t> indices = call.input<uint32_t>(4);
  merge.indptr = call.input<uint32_t>(3, countRows(merge.rows) + 1);
  merge.indices = indices.data, merge.numIndices = indices.size;
  call.require(checkNearestKept(merge));
  nearestKept(merge, context.parallelFor());
}

void WindowScoreOp::compute(Context& context) const {
  NativeCall call(context, 1, 13, 1);
  const Span<float> scores = call.output<float>(0);
  WindowScoreCall score;
  score.rows = call.rows(scores.size);
  score.nextPositions = call.input<int32_t>(3, score.rows.numSequences);
  score.windowLengths = call.input<int32_t>(4, score.rows.numSequences);
  score.window = call.integer(2);
  score.power = call.integer(3);
  score.buffer = call.integer(4);
  score.pool = Pool(call.integer(5));
  score.poolSize = call.integer(6);
  score.rowReduce = RowReduce(call.integer(7));
  score.groupReduce = GroupReduce(call.integer(8));
  score.poolFirst = call.integer(9) != 0;
  score.allHeads = call.integer(10) != 0;
  score.slab = call.integer(11);
  score.excludeWindow = call.integer(12) != 0;
  score.scale = call.number(0);
  score.scores = scores.data;
  call.require(checkWindowScore(score));
  windowScore(score, context.parallelFor());
}

void KeyRedundancyOp::compute(Context& context) const {
  NativeCall call(context, 1, 2, 1);
  const Span<float> scores = call.output<float>(0);
  keyRedundancy(call.rows(scores.size), call.number(0), scores.data, context.parallelFor());
}

void QueryAttentionOp::compute(Context& context) const {
  NativeCall call(context, 1, 7, 1);
  const Span<float> table = call.output<float>(0);
  const KvCache& cache = call.cache();
  const Span<const float> queries = call.input<float>(0), factors = call.input<float>(1);
  const Span<const int32_t> seen = call.input<int32_t>(2);
  const size_t perQuery = size_t(cache.numQueryHeads) * cache.headDim;
  context.require(queries.size == factors.size * perQuery, "every query needs a factor");
  context.require(seen.size % 2 == 0, "seen must be [numRanges, 2]");
  QueryAttentionCall look;
  look.cache = &cache;
  look.sequence = call.integer(0), look.layer = call.integer(1);
  look.queries = queries.data, look.factors = factors.data;
  look.count = int32_t(factors.size), look.start = call.integer(2);
  look.seen = seen.data, look.numRanges = int32_t(seen.size / 2);
  look.width = call.integer(3);
  look.scoredFrom = call.integer(4), look.scoredTo = call.integer(5);
  look.reduce = QueryReduce(call.integer(6));
  look.scale = call.number(0);
  look.table = table.data;
  call.require(checkQueryAttention(look));
  context.require(table.size == size_t(cache.numQueryHeads) * look.width,
                  "the table must be [numQueryHeads, width]");
  // The output is the input's memory, or a copy of it.
  std::memmove(table.data, call.input<float>(3, table.size), table.size * sizeof(float));
  queryAttention(look, context.parallelFor());
}

namespace {

// Inputs 3 and 4 are nextPositions and windowLengths, integer 2 the window, number 0 the scale.
WindowCall windowOf(const NativeCall& call, size_t totalSlots) {
  WindowCall window;
  window.rows = call.rows(totalSlots);
  window.nextPositions = call.input<int32_t>(3, window.rows.numSequences);
  window.windowLengths = call.input<int32_t>(4, window.rows.numSequences);
  window.window = call.integer(2);
  window.scale = call.number(0);
  call.require(checkWindow(window));
  return window;
}

}  // namespace

void WindowSumsOp::compute(Context& context) const {
  NativeCall call(context, 1, 3, 1);
  const Span<float> sums = call.output<float>(0);
  const int32_t group = call.cache().numQueryHeads / call.cache().numKvHeads;
  windowSums(windowOf(call, sums.size / group), sums.data, context.parallelFor());
}

void AttentionSpreadOp::compute(Context& context) const {
  NativeCall call(context, 2, 3, 1);
  const Span<float> dispersion = call.output<float>(0), shift = call.output<float>(1);
  const WindowCall window = windowOf(call, SIZE_MAX);
  const size_t layers = size_t(window.rows.numSequences) * window.rows.numLayers;
  context.require(dispersion.size == layers && shift.size == layers,
                  "the outputs must be [numSequences x numLayers]");
  attentionSpread(window, dispersion.data, shift.data, context.parallelFor());
}

void WindowImportanceOp::compute(Context& context) const {
  NativeCall call(context, 1, 6, 1);
  const Span<float> scores = call.output<float>(0);
  const WindowImportanceCall importance{windowOf(call, scores.size), Pool(call.integer(3)),
                                        call.integer(4), GroupReduce(call.integer(5)),
                                        scores.data};
  call.require(checkWindowImportance(importance));
  windowImportance(importance, context.parallelFor());
}

void SpreadScoreOp::compute(Context& context) const {
  NativeCall call(context, 1, 6, 2);
  const Span<float> scores = call.output<float>(0);
  const SpreadScoreCall spread{windowOf(call, scores.size), call.number(1),
                               Pool(call.integer(3)),       call.integer(4),
                               GroupReduce(call.integer(5)), scores.data};
  call.require(checkSpreadScore(spread));
  spreadScore(spread, context.parallelFor());
}

void DefensiveScoreOp::compute(Context& context) const {
  NativeCall call(context, 1, 6, 3);
  const Span<float> scores = call.output<float>(0);
  DefensiveScoreCall defensive;
  defensive.window = windowOf(call, scores.size);
  defensive.averages = call.integer(3) == 1;
  defensive.poolSize = call.integer(4);
  defensive.measuresBias = call.integer(5) != 0;
  defensive.criticalMass = call.number(1);
  defensive.windowBias = call.number(2);
  defensive.firstStageLimits = call.input<int32_t>(5, defensive.window.rows.numSequences);
  defensive.norms = call.input<float>(6, scores.size);
  defensive.scores = scores.data;
  call.require(checkDefensiveScore(defensive));
  defensiveScore(defensive, context.parallelFor());
}

void ProjectedValueNormOp::compute(Context& context) const {
  NativeCall call(context, 1, 4, 0);
  const Span<float> norms = call.output<float>(0);
  const KvCache& cache = call.cache();
  ProjectedValueNormCall projected;
  projected.rows = call.rows(norms.size);
  projected.layer = call.integer(2), projected.hiddenSize = call.integer(3);
  context.require(projected.hiddenSize > 0, "hiddenSize must be positive");
  projected.weight = call.input<float>(
      3, size_t(projected.hiddenSize) * cache.numQueryHeads * cache.headDim);
  projected.norms = norms.data;
  // The output is the input's memory, or a copy of it: other layers' rows stay as they are.
  std::memmove(norms.data, call.input<float>(4, norms.size), norms.size * sizeof(float));
  projectedValueNorm(projected, context.parallelFor());
}

void TopKOp::compute(Context& context) const {
  NativeCall call(context, 1, 2, 0);
  const Span<uint32_t> indices = call.output<uint32_t>(0);
  const Span<const float> scores = call.input<float>(1);
  const size_t rows = size_t(call.integer(0));
  context.require(call.integer(0) >= 0, "numRows is negative");
  const std::string problem =
      topK({call.input<uint32_t>(0, rows + 1), scores.data, call.input<uint32_t>(2, rows),
            call.input<uint32_t>(3, rows + 1), indices.data, rows, scores.size, indices.size,
            call.integer(1) == 1},
           context.parallelFor());
  context.require(problem.empty(), problem);
}

void BlockScheduleOp::compute(Context& context) const {
  NativeCall call(context, 1, 2, 0);
  const Span<uint32_t> counts = call.output<uint32_t>(0);
  const Span<const float> scores = call.input<float>(1);
  const int32_t rowsPerSequence = call.integer(0), blockSize = call.integer(1);
  context.require(rowsPerSequence > 0 && blockSize > 0, "expected rows and slots");
  const std::string problem =
      blockSchedule({call.input<uint32_t>(0, counts.size + 1), scores.data,
                     call.input<uint32_t>(2, counts.size / rowsPerSequence), counts.data,
                     counts.size, scores.size, uint32_t(rowsPerSequence), uint32_t(blockSize)},
                    context.parallelFor());
  context.require(problem.empty(), problem);
}

void DrawTokensOp::compute(Context& context) const {
  NativeCall call(context, 1, 0, 0);
  const Span<int32_t> tokens = call.output<int32_t>(0);
  const Span<const float> logits = call.input<float>(0);
  const size_t rows = tokens.size;
  context.require(rows > 0 && logits.size >= rows && logits.size % rows == 0,
                  "logits must be [numRows, vocabSize]");
  const uint32_t* settings = call.input<uint32_t>(1, 4 * rows);
  drawTokens({logits.data, settings, tokens.data, rows, logits.size / rows},
             context.parallelFor());
}

void CompactOp::compute(Context& context) const {
  NativeCall call(context, 1, 1, 0);
  const Span<int32_t> moved = call.output<int32_t>(0);
  const Span<const int32_t> moves = call.input<int32_t>(0);
  const KvCache& cache = call.cache();
  const int32_t arena = call.integer(0);
  context.require(arena >= 0 && arena < cache.numArenas, "the arena does not exist");
  context.require(moves.size % 2 == 0 && moved.size == 1, "moves must be [M, 2], the output [1]");
  call.require(compact(cache.arenas[arena], moves.data, moves.size / 2, context.parallelFor()));
  moved[0] = int32_t(moves.size / 2);
}

}  // namespace kv::ort
