#include "window-score.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "pooling.h"

namespace kv {
namespace {

// A row's tokens in order of position.
struct RowScores {
  BatchRow at;
  std::vector<int32_t> order;      // order[j] = slot of the j-th token; empty where it is j
  std::vector<int32_t> positions;  // ascending
  size_t eligible;                 // tokens [0, eligible) are scored and pooled
  std::vector<float> totals;       // reduced over queries and, but for a mean's divisor, over heads
};

float combine(const WindowScoreCall& call, float a, float b) {
  return call.groupReduce == GroupReduce::maximum ? std::max(a, b) : a + b;
}

void sortByPosition(RowScores& scores, const std::vector<int32_t>& bySlot) {
  scores.positions = bySlot;
  if (std::is_sorted(bySlot.begin(), bySlot.end())) return;
  scores.order.resize(bySlot.size());
  std::iota(scores.order.begin(), scores.order.end(), 0);
  std::sort(scores.order.begin(), scores.order.end(),
            [&](int32_t a, int32_t b) { return bySlot[a] < bySlot[b]; });
  for (size_t j = 0; j < bySlot.size(); j++) scores.positions[j] = bySlot[scores.order[j]];
}

// Attention sums of `count` queries from position `first` on, in order of position.
void observeQueries(const WindowScoreCall& call, const RowScores& scores, int32_t queryHead,
                    int32_t first, int32_t count, const int32_t* positionsBySlot,
                    std::vector<float>& bySlot, std::vector<float>& sums) {
  const KvCache& cache = *call.rows.cache;
  const size_t width = size_t(cache.numQueryHeads) * cache.headDim;
  const float* ring =
      cache.windowQueries +
      (size_t(scores.at.sequence) * cache.numLayers + scores.at.layer) * cache.windowSize * width +
      size_t(queryHead) * cache.headDim;
  std::fill(bySlot.begin(), bySlot.end(), 0.f);
  for (int32_t done = 0; done < count; done += kMaxObserved) {
    Observation o;
    o.row = scores.at.row;
    o.keyPositions = positionsBySlot;
    o.numQueries = std::min(kMaxObserved, count - done);
    o.headDim = cache.headDim, o.power = call.power, o.buffer = call.buffer, o.scale = call.scale;
    o.sums = bySlot.data();
    for (int32_t i = 0; i < o.numQueries; i++) {
      const int32_t position = first + done + i;
      o.queryPositions[i] = position;
      o.queries[i] = ring + position % cache.windowSize * width;
    }
    observe()(o);
  }
  if (scores.order.empty())
    sums = bySlot;
  else
    for (size_t j = 0; j < sums.size(); j++) sums[j] = bySlot[scores.order[j]];
}

RowScores observeRow(const WindowScoreCall& call, size_t index) {
  const KvCache& cache = *call.rows.cache;
  const int32_t group = cache.numQueryHeads / cache.numKvHeads;
  RowScores scores{rowAt(call.rows, index), {}, {}, 0, {}};
  const Row& row = scores.at.row;
  const size_t length = row.length;
  const int32_t next = call.nextPositions[scores.at.sequenceIndex];
  const int32_t observed = std::min(call.window, call.windowLengths[scores.at.sequenceIndex]);
  std::vector<int32_t> positionsBySlot(length);
  for (size_t j = 0; j < length; j++)
    positionsBySlot[j] = row.arena->positions[physicalSlot(row, int32_t(j))];
  sortByPosition(scores, positionsBySlot);
  const auto begin = scores.positions.begin(), end = scores.positions.end();
  scores.eligible =
      call.excludeWindow ? std::lower_bound(begin, end, next - observed) - begin : length;
  scores.totals.assign(length, 0);

  std::vector<float> bySlot(length), sums(length), head(length), pooled;
  const int32_t slab = call.slab > 0 ? call.slab : observed;
  const float weight = call.rowReduce == RowReduce::mean ? 1.f / observed : 1.f;
  for (int32_t member = 0; member < group; member++) {
    std::fill(head.begin(), head.end(), 0.f);
    for (int32_t first = 0; first < observed; first += slab) {
      observeQueries(call, scores, scores.at.head * group + member, next - observed + first,
                     std::min(slab, observed - first), positionsBySlot.data(), bySlot, sums);
      if (call.poolFirst) pool(sums.data(), scores.eligible, call.pool, call.poolSize, pooled);
      for (size_t j = 0; j < scores.eligible; j++) head[j] += sums[j];
    }
    for (size_t j = 0; j < scores.eligible; j++)
      scores.totals[j] = combine(call, scores.totals[j], head[j] * weight);
  }
  return scores;
}

// Rows of a layer may hold different tokens: they meet by position.
void reduceByPosition(const WindowScoreCall& call, std::vector<RowScores>& layer) {
  std::vector<size_t> at(layer.size(), 0);
  for (;;) {
    int32_t position = INT32_MAX;
    for (size_t h = 0; h < layer.size(); h++)
      if (at[h] < layer[h].eligible) position = std::min(position, layer[h].positions[at[h]]);
    if (position == INT32_MAX) return;
    const auto here = [&](size_t h) {
      return at[h] < layer[h].eligible && layer[h].positions[at[h]] == position;
    };
    float merged = 0;
    for (size_t h = 0; h < layer.size(); h++)
      if (here(h)) merged = combine(call, merged, layer[h].totals[at[h]]);
    for (size_t h = 0; h < layer.size(); h++)
      if (here(h)) layer[h].totals[at[h]++] = merged;
  }
}

void finish(const WindowScoreCall& call, RowScores& scores) {
  const KvCache& cache = *call.rows.cache;
  if (call.groupReduce == GroupReduce::mean) {
    const int32_t heads =
        call.allHeads ? cache.numQueryHeads : cache.numQueryHeads / cache.numKvHeads;
    for (size_t j = 0; j < scores.eligible; j++) scores.totals[j] /= float(heads);
  }
  std::vector<float> pooled;
  if (!call.poolFirst)
    pool(scores.totals.data(), scores.eligible, call.pool, call.poolSize, pooled);
  float* out = call.scores + scores.at.begin;
  for (size_t j = 0; j < scores.totals.size(); j++)
    out[scores.order.empty() ? j : scores.order[j]] = scores.totals[j];
}

}  // namespace

const char* checkWindowScore(const WindowScoreCall& call) {
  const KvCache& cache = *call.rows.cache;
  if (call.window < 1 || call.window > cache.windowSize || !cache.windowQueries)
    return "the cache keeps fewer queries than the window observes";
  if (call.power != 1 && call.power != 2) return "power must be 1 or 2";
  if (call.pool < Pool::none || call.pool > Pool::maximum) return "poolKind must be 0, 1 or 2";
  if (call.pool != Pool::none && (call.poolSize < 1 || call.poolSize % 2 == 0))
    return "poolSize must be odd and positive";
  if (call.rowReduce < RowReduce::mean || call.rowReduce > RowReduce::sum)
    return "rowReduce must be 0 or 1";
  if (call.groupReduce < GroupReduce::mean || call.groupReduce > GroupReduce::sum)
    return "groupReduce must be 0, 1 or 2";
  if (call.slab < 0) return "slab is negative";
  for (int32_t s = 0; s < call.rows.numSequences; s++)
    if (call.windowLengths[s] < 1 || call.windowLengths[s] > cache.windowSize ||
        call.nextPositions[s] < std::min(call.window, call.windowLengths[s]))
      return "windowLengths and nextPositions do not fit the ring of queries";
  return nullptr;
}

void windowScore(const WindowScoreCall& call, const ParallelFor& parallelFor) {
  const size_t rows = countRows(call.rows), heads = call.rows.cache->numKvHeads;
  if (!call.allHeads)
    return parallelFor(rows, [&](size_t row) {
      RowScores scores = observeRow(call, row);
      finish(call, scores);
    });
  parallelFor(rows / heads, [&](size_t layer) {
    std::vector<RowScores> scores;
    for (size_t head = 0; head < heads; head++)
      scores.push_back(observeRow(call, layer * heads + head));
    reduceByPosition(call, scores);
    for (RowScores& row : scores) finish(call, row);
  });
}

}  // namespace kv
