#include "spread-score.h"

#include <algorithm>

#include "attention-spread.h"
#include "pooling.h"

namespace kv {

const char* checkSpreadScore(const SpreadScoreCall& call) {
  if (call.pool < Pool::none || call.pool > Pool::maximum) return "poolKind must be 0, 1 or 2";
  if (call.pool != Pool::none && (call.poolSize < 1 || call.poolSize % 2 == 0))
    return "poolSize must be odd and positive";
  if (call.groupReduce != GroupReduce::mean && call.groupReduce != GroupReduce::maximum)
    return "groupReduce must be 0 or 1";
  return checkWindow(call.window);
}

void spreadScore(const SpreadScoreCall& call, const ParallelFor& parallelFor) {
  const KvCache& cache = *call.window.rows.cache;
  const int32_t group = cache.numQueryHeads / cache.numKvHeads;
  parallelFor(countRows(call.window.rows), [&](size_t index) {
    const ObservedRow row = openRow(call.window, index);
    std::vector<float> weights, means(row.eligible), values(row.eligible), pooled;
    std::vector<float> totals(row.eligible, 0.f);
    for (int32_t member = 0; member < group; member++) {
      weighQueries(call.window, row, member, weights);
      varianceOverQueries(row, weights.data(), means.data(), values.data());
      for (size_t j = 0; j < row.eligible; j++) values[j] = means[j] + call.gamma * values[j];
      pool(values.data(), row.eligible, call.pool, call.poolSize, pooled);
      for (size_t j = 0; j < row.eligible; j++)
        totals[j] = call.groupReduce == GroupReduce::maximum ? std::max(totals[j], values[j])
                                                             : totals[j] + values[j] / group;
    }
    float* out = call.scores + row.at.begin;
    std::fill(out, out + row.length(), 0.f);
    for (size_t j = 0; j < row.eligible; j++) out[row.slotOf(j)] = totals[j];
  });
}

}  // namespace kv
