#include "key-projection.h"

namespace kv {

void keyProjection(const BatchRows& rows, const float* directions, float* scores,
                   const ParallelFor& parallelFor) {
  const KvCache& cache = *rows.cache;
  const ProjectRow kernel = projectRow();
  parallelFor(countRows(rows), [&](size_t i) {
    const BatchRow at = rowAt(rows, i);
    const size_t index = size_t(at.layer) * cache.numKvHeads + at.head;
    kernel(at.row, directions + index * cache.headDim, scores + at.begin);
  });
}

}  // namespace kv
