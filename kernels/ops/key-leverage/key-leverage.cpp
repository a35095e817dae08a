#include "key-leverage.h"

#include <atomic>

#include "standardize.h"

namespace kv {

const char* checkKeyLeverage(const LeverageCall& call) {
  const BatchRows& rows = call.rows;
  if (call.sketch < 1) return "sketch must be positive";
  if (!(call.ridge >= 0)) return "ridge is negative";
  for (int32_t s = 0; s < rows.numSequences; s++)
    for (int32_t l = 0; l < rows.numLayers; l++) {
      const size_t i = size_t(s) * rows.numLayers + l;
      if (call.tableBegins[i] < 0) continue;
      const int32_t half = call.tableHalves[i];
      if (half < 0 || 2 * half > rows.cache->headDim) return "a rotation is wider than a head";
      if (size_t(call.tableBegins[i]) + size_t(call.nextPositions[s]) * half > call.tableSize)
        return "the rotations end before the next position";
    }
  for (size_t i = 0; i < countRows(rows); i++) {
    const BatchRow at = rowAt(rows, i);
    for (int32_t j = 0; j < at.row.length; j++) {
      const int32_t position = at.row.arena->positions[physicalSlot(at.row, j)];
      if (position < 0 || position >= call.nextPositions[at.sequenceIndex])
        return "a token lies at or behind the next position";
    }
  }
  return nullptr;
}

const char* keyLeverage(const LeverageCall& call, const ParallelFor& parallelFor) {
  const BatchRows& rows = call.rows;
  const KvCache& cache = *rows.cache;
  const size_t heads = cache.numKvHeads, numRows = countRows(rows);
  std::atomic<bool> solved{true};
  parallelFor(numRows, [&](size_t i) {
    const BatchRow at = rowAt(rows, i);
    const size_t pair = i / heads;
    const size_t layerHead = i % (size_t(rows.numLayers) * heads);
    const int32_t begin = call.tableBegins[pair];
    if (!leverageOfRow()({at.row, begin < 0 ? nullptr : call.cos + begin,
                          begin < 0 ? nullptr : call.sin + begin, call.tableHalves[pair],
                          call.tableScales[pair], call.sinks,
                          call.nextPositions[at.sequenceIndex] - call.recent, cache.headDim,
                          call.sketch, call.sketches + layerHead * cache.headDim * call.sketch,
                          call.ridge, call.scores + at.begin}))
      solved = false;
  });
  parallelFor(numRows / heads, [&](size_t pair) {
    const size_t begin = rows.rowIndptr[pair * heads], end = rows.rowIndptr[(pair + 1) * heads];
    standardize(call.scores + begin, end - begin);
  });
  return solved ? nullptr : "keys have no Cholesky factor: give a larger ridge";
}

}  // namespace kv
