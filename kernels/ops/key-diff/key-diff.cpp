#include "key-diff.h"

namespace kv {

void keyDiff(const BatchRows& rows, float* scores, const ParallelFor& parallelFor) {
  const KeyDiffRow kernel = keyDiffRow();
  parallelFor(countRows(rows), [&](size_t i) {
    const BatchRow at = rowAt(rows, i);
    kernel(at.row, scores + at.begin);
  });
}

}  // namespace kv
