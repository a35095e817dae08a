#pragma once
#include "observed-row.h"

namespace kv {

// Worst-case importance, see defensive-score.ts: the largest pooled attention of any query and query
// head, not below the row's mean, times the token's share of its position's norms; the tokens that
// carry the critical mass of the mean attention, and the window's own, get the layer's maximum.
struct DefensiveScoreCall {
  WindowCall window;
  int32_t poolSize;
  bool averages;                // pools averages, not maxima
  bool measuresBias;            // windowBias is measured, not given
  float criticalMass, windowBias;
  const int32_t* firstStageLimits;  // [numSequences]: tokens of a row in the first stage, at most
  const float* norms;               // [rowIndptr[numRows]]
  float* scores;                    // [rowIndptr[numRows]]
};

// nullptr, or what is wrong with the call.
const char* checkDefensiveScore(const DefensiveScoreCall& call);

void defensiveScore(const DefensiveScoreCall& call, const ParallelFor& parallelFor);

}  // namespace kv
