#include "statistics-ops.h"

#include <cstring>

#include "capacity-score.h"
#include "chunk-attention.h"
#include "gaussian-attention.h"
#include "key-leverage.h"
#include "key-projection.h"
#include "linear-rows.h"
#include "native-call.h"
#include "norm-shares.h"
#include "query-moments.h"
#include "retention-gate.h"

namespace kv::ort {

void NormSharesOp::compute(Context& context) const {
  NativeCall call(context, 1, 5, 0);
  const Span<float> scores = call.output<float>(0);
  const NormSharesCall score{call.rows(scores.size), ShareRule(call.integer(2)), call.integer(3),
                             call.integer(4), scores.data};
  call.require(checkNormShares(score));
  normShares(score, context.parallelFor());
}

void KeyProjectionOp::compute(Context& context) const {
  NativeCall call(context, 1, 2, 0);
  const Span<float> scores = call.output<float>(0);
  const KvCache& cache = call.cache();
  const size_t numbers = size_t(cache.numLayers) * cache.numKvHeads * cache.headDim;
  keyProjection(call.rows(scores.size), call.input<float>(3, numbers), scores.data,
                context.parallelFor());
}

void KeyLeverageOp::compute(Context& context) const {
  NativeCall call(context, 1, 5, 1);
  const Span<float> scores = call.output<float>(0);
  LeverageCall score;
  score.rows = call.rows(scores.size);
  const KvCache& cache = call.cache();
  const size_t pairs = size_t(score.rows.numSequences) * score.rows.numLayers;
  score.sketch = call.integer(2), score.sinks = call.integer(3), score.recent = call.integer(4);
  context.require(score.sketch > 0, "sketch must be positive");
  score.nextPositions = call.input<int32_t>(3, score.rows.numSequences);
  score.tableBegins = call.input<int32_t>(4, pairs);
  score.tableHalves = call.input<int32_t>(5, pairs);
  score.tableScales = call.input<float>(6, pairs);
  const Span<const float> cos = call.input<float>(7);
  score.cos = cos.data, score.sin = call.input<float>(8, cos.size), score.tableSize = cos.size;
  score.sketches = call.input<float>(
      9, size_t(score.rows.numLayers) * cache.numKvHeads * cache.headDim * score.sketch);
  score.ridge = call.number(0);
  score.scores = scores.data;
  call.require(checkKeyLeverage(score));
  call.require(keyLeverage(score, context.parallelFor()));
}

// Numbers of all query heads of the batch's layers.
static size_t numbersOf(const BatchRows& rows) {
  return size_t(rows.numSequences) * rows.numLayers * rows.cache->numQueryHeads *
         rows.cache->headDim;
}

void CapacityScoreOp::compute(Context& context) const {
  NativeCall call(context, 1, 3, 2);
  const Span<float> scores = call.output<float>(0);
  CapacityCall score;
  score.rows = call.rows(scores.size);
  score.anchors = call.input<float>(3, numbersOf(score.rows));
  score.sinks = call.integer(2);
  score.tau = call.number(0), score.epsilon = call.number(1);
  score.scores = scores.data;
  call.require(capacityScore(score, context.parallelFor()));
}

void GaussianAttentionOp::compute(Context& context) const {
  NativeCall call(context, 1, 5, 1);
  const Span<float> scores = call.output<float>(0);
  GaussianCall score;
  score.rows = call.rows(scores.size);
  const size_t numbers = numbersOf(score.rows);
  score.means = call.input<float>(3, numbers);
  const bool varies = call.integer(2) != 0;
  score.covariances = varies ? call.input<float>(4, numbers * call.cache().headDim) : nullptr;
  score.sinks = call.integer(3), score.valueNorm = call.integer(4) != 0;
  score.epsilon = call.number(0);
  score.scores = scores.data;
  gaussianAttention(score, context.parallelFor());
}

void QueryMomentsOp::compute(Context& context) const {
  NativeCall call(context, 2, 4, 0);
  const Span<float> means = call.output<float>(0), deviations = call.output<float>(1);
  MomentsCall moments;
  moments.numRows = call.integer(0), moments.heads = call.integer(1);
  moments.before = call.integer(2);
  const bool varies = call.integer(3) != 0;
  context.require(moments.heads > 0 && means.size % moments.heads == 0 && moments.numRows >= 0 &&
                      moments.before >= 0,
                  "heads, numRows and before do not fit the means");
  moments.width = int32_t(means.size / moments.heads);
  moments.rows = call.input<float>(0, size_t(moments.numRows) * means.size);
  // The outputs are the inputs' memory, or copies of it.
  std::memmove(means.data, call.input<float>(1, means.size), means.size * sizeof(float));
  std::memmove(deviations.data, call.input<float>(2, deviations.size),
               deviations.size * sizeof(float));
  context.require(!varies || deviations.size == means.size * moments.width,
                  "deviations must be [heads, width, width]");
  moments.means = means.data;
  moments.deviations = varies ? deviations.data : nullptr;
  queryMoments(moments, context.parallelFor());
}

void ChunkAttentionOp::compute(Context& context) const {
  NativeCall call(context, 1, 6, 0);
  const Span<float> out = call.output<float>(0);
  const KvCache& cache = call.cache();
  ChunkAttentionCall look;
  look.cache = &cache;
  look.sequence = call.integer(0), look.layer = call.integer(1);
  look.first = call.integer(2), look.numQueries = call.integer(3);
  look.chunk = call.integer(4), look.padded = call.integer(5) != 0;
  call.require(checkChunkAttention(look));
  look.queries =
      call.input<float>(0, size_t(look.numQueries) * cache.numQueryHeads * cache.headDim);
  context.require(out.size == size_t(cache.numKvHeads) * look.numQueries,
                  "out must be [numKvHeads, numQueries]");
  look.out = out.data;
  chunkAttention(look, context.parallelFor());
}

void LinearRowsOp::compute(Context& context) const {
  NativeCall call(context, 1, 3, 0);
  const Span<float> out = call.output<float>(0);
  LinearRowsCall linear;
  linear.numRows = call.integer(0), linear.inputs = call.integer(1);
  linear.outputs = call.integer(2);
  context.require(linear.numRows >= 0 && linear.inputs > 0 && linear.outputs > 0,
                  "sizes must be positive");
  linear.input = call.input<float>(0, size_t(linear.numRows) * linear.inputs);
  linear.weight = call.input<float>(1, size_t(linear.outputs) * linear.inputs);
  linear.bias = call.input<float>(2, linear.outputs);
  context.require(out.size == size_t(linear.numRows) * linear.outputs,
                  "out must be [numRows, outputs]");
  linear.out = out.data;
  linearRows(linear, context.parallelFor());
}

void RetentionGateOp::compute(Context& context) const {
  NativeCall call(context, 1, 3, 1);
  const Span<float> out = call.output<float>(0);
  RetentionGateCall gate;
  gate.numTokens = call.integer(0), gate.heads = call.integer(1), gate.group = call.integer(2);
  context.require(gate.numTokens >= 0 && gate.heads > 0 && gate.group > 0,
                  "sizes must be positive");
  const Span<const float> norm = call.input<float>(2), base = call.input<float>(4);
  const size_t width = norm.size, tokens = gate.numTokens, heads = gate.heads;
  context.require(width > 0 && base.size % (heads * width) == 0,
                  "baseKeys must be [heads, numBaseKeys, width]");
  gate.width = int32_t(width), gate.numBaseKeys = int32_t(base.size / (heads * width));
  gate.queries = call.input<float>(0, tokens * heads * gate.group * width);
  gate.keys = call.input<float>(1, tokens * heads * width);
  gate.queryNorm = norm.data, gate.keyNorm = call.input<float>(3, width);
  gate.baseKeys = base.data, gate.bias = call.input<float>(5, heads * gate.group);
  gate.normEpsilon = call.number(0);
  context.require(out.size == heads * tokens, "out must be [heads, numTokens]");
  gate.out = out.data;
  retentionGate(gate, context.parallelFor());
}

void GeluOp::compute(Context& context) const {
  NativeCall call(context, 1, 0, 0);
  const Span<float> values = call.output<float>(0);
  // The output is the input's memory, or a copy of it.
  std::memmove(values.data, call.input<float>(0, values.size), values.size * sizeof(float));
  geluInPlace(values.data, values.size, context.parallelFor());
}

}  // namespace kv::ort
