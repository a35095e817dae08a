#pragma once
#include <cstddef>
#include <cstdint>

#include "parallel.h"

namespace kv {

// A token of every row, drawn from softmax(logits / temperature) with the row's number in [0, 1);
// temperature 0 takes the largest logit, the lowest id of equals. -1 where a logit is NaN or
// infinite, or all are -infinity.
struct DrawTokensCall {
  const float* logits;       // [numRows, vocabSize]
  const uint32_t* settings;  // [numRows, 4]: the bits of two doubles, temperature and number
  int32_t* tokens;           // [numRows]
  size_t numRows, vocabSize;
};

void drawTokens(const DrawTokensCall& call, const ParallelFor& parallelFor);

}  // namespace kv
