#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "parallel.h"

namespace kv {

// Exact top-k of every row: the counts[r] highest of scores[rowIndptr[r] … rowIndptr[r + 1]), as
// slots within the row, ascending, written to indices[indptr[r] …).
struct TopKCall {
  const uint32_t* rowIndptr;  // [numRows + 1]
  const float* scores;        // [numScores]
  const uint32_t* counts;     // [numRows]
  const uint32_t* indptr;     // [numRows + 1]: prefix sum of counts
  uint32_t* indices;          // [numIndices]
  size_t numRows, numScores, numIndices;
  bool higherSlotWins;  // of equal scores; else the lower one
};

// Empty, or what is wrong: a count above its row's length, a score that is not a number.
std::string topK(const TopKCall& call, const ParallelFor& parallelFor);

}  // namespace kv
