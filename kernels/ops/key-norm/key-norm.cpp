#include "key-norm.h"

namespace kv {

void keyNorm(const BatchRows& rows, float* scores, const ParallelFor& parallelFor) {
  const KeyNormRow kernel = keyNormRow();
  parallelFor(countRows(rows), [&](size_t i) {
    const BatchRow at = rowAt(rows, i);
    kernel(at.row, scores + at.begin);
  });
}

}  // namespace kv
