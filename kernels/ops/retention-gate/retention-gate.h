#pragma once
#include <cstddef>
#include <cstdint>

#include "isa.h"
#include "parallel.h"

namespace kv {

// A token's own share of attention among base keys; see retention-gate.ts.
struct RetentionGateCall {
  const float *queries, *keys;  // [numTokens, heads × group × width], [numTokens, heads × width]
  const float *queryNorm, *keyNorm;  // [width]
  const float* baseKeys;             // [heads, numBaseKeys, width]
  const float* bias;                 // [heads, group]
  int32_t numTokens, heads, group, width, numBaseKeys;
  float normEpsilon;
  float* out;  // [heads, numTokens]
};

void retentionGate(const RetentionGateCall& call, const ParallelFor& parallelFor);

// Tokens [first, first + count) of one head.
using GateTokens = void (*)(const RetentionGateCall& call, int32_t head, int32_t first,
                            int32_t count);
KV_DECLARE_VARIANTS(GateTokens, gateTokens)

}  // namespace kv
