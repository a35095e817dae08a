#include "capacity-score.h"

#include <atomic>

namespace kv {

const char* capacityScore(const CapacityCall& call, const ParallelFor& parallelFor) {
  const BatchRows& rows = call.rows;
  const KvCache& cache = *rows.cache;
  const int32_t group = cache.numQueryHeads / cache.numKvHeads;
  const size_t perRow = size_t(group) * cache.headDim;
  std::atomic<bool> solved{true};
  parallelFor(countRows(rows), [&](size_t i) {
    const BatchRow at = rowAt(rows, i);
    if (!capacityOfRow()({at.row, call.anchors + i * perRow, group, cache.headDim, call.sinks,
                          call.tau, call.epsilon, call.scores + at.begin}))
      solved = false;
  });
  return solved ? nullptr : "values have no Cholesky factor";
}

}  // namespace kv
