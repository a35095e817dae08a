#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "parallel.h"

namespace kv {

// Tokens that every row keeps when each sequence gives back its cheapest blocks: a row's k-th block
// costs what the dearest of its (k - 1) * blockSize + (slots in its last block) cheapest slots
// costs. Blocks that hold a score of +infinity stay, and so does one block of every row.
struct BlockScheduleCall {
  const uint32_t* rowIndptr;  // [numRows + 1]
  const float* scores;        // [numScores]
  const uint32_t* wanted;     // [numRows / rowsPerSequence]: blocks that each sequence gives back
  uint32_t* counts;           // [numRows]
  size_t numRows, numScores;
  uint32_t rowsPerSequence, blockSize;
};

// Empty, or what is wrong with the call.
std::string blockSchedule(const BlockScheduleCall& call, const ParallelFor& parallelFor);

}  // namespace kv
