#pragma once
#include "observed-row.h"
#include "window-score.h"

namespace kv {

// Mean + gamma × variance of the attention that the last queries pay to a token, pooled per query
// head, then reduced over the group (mean or maximum). The window's own tokens score 0.
struct SpreadScoreCall {
  WindowCall window;
  float gamma;
  Pool pool;
  int32_t poolSize;
  GroupReduce groupReduce;
  float* scores;  // [rowIndptr[numRows]]
};

// nullptr, or what is wrong with the call.
const char* checkSpreadScore(const SpreadScoreCall& call);

void spreadScore(const SpreadScoreCall& call, const ParallelFor& parallelFor);

}  // namespace kv
