#include "nearest-kept.h"

namespace kv {

const char* checkNearestKept(const NearestKeptCall& call) {
  const size_t rows = countRows(call.rows);
  for (size_t r = 0; r < rows; r++) {
    const uint32_t begin = call.indptr[r], end = call.indptr[r + 1];
    if (begin > end || end > call.numIndices) return "indptr does not fit the kept slots";
    const uint32_t length = call.rows.rowIndptr[r + 1] - call.rows.rowIndptr[r];
    for (uint32_t i = begin; i < end; i++) {
      if (call.indices[i] >= length) return "a kept slot does not exist";
      if (i > begin && call.indices[i] <= call.indices[i - 1]) return "kept slots do not ascend";
    }
  }
  return nullptr;
}

void nearestKept(const NearestKeptCall& call, const ParallelFor& parallelFor) {
  const NearestKeptRow kernel = nearestKeptRow();
  parallelFor(countRows(call.rows), [&](size_t r) {
    const BatchRow at = rowAt(call.rows, r);
    kernel(at.row, call.indices + call.indptr[r], int(call.indptr[r + 1] - call.indptr[r]),
           call.nearest + at.begin, call.similarity + at.begin);
  });
}

}  // namespace kv
