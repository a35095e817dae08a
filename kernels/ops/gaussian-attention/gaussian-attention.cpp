#include "gaussian-attention.h"

namespace kv {

void gaussianAttention(const GaussianCall& call, const ParallelFor& parallelFor) {
  const BatchRows& rows = call.rows;
  const KvCache& cache = *rows.cache;
  const int32_t group = cache.numQueryHeads / cache.numKvHeads;
  const size_t perRow = size_t(group) * cache.headDim;
  parallelFor(countRows(rows), [&](size_t i) {
    const BatchRow at = rowAt(rows, i);
    gaussianOfRow()({at.row, call.means + i * perRow,
                     call.covariances ? call.covariances + i * perRow * cache.headDim : nullptr,
                     group, cache.headDim, call.sinks, call.valueNorm, call.epsilon,
                     call.scores + at.begin});
  });
}

}  // namespace kv
