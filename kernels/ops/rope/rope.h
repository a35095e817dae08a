// Half-split rotary embedding.
#pragma once
#include <cstddef>

#include "parallel.h"

namespace kv {

// x, y [numTokens, numHeads × headDim] (y may be x); cos, sin [numTokens, half]. Of every head the
// first `half` values and the next `half` are the two coordinates that are rotated; the rest is
// copied.
struct RopeCall {
  const float* x;
  const float* cos;
  const float* sin;
  float* y;
  size_t numTokens, numHeads, headDim, half;
};

void rope(const RopeCall& call, const ParallelFor& parallelFor);

}  // namespace kv
