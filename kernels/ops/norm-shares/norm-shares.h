#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

enum class ShareRule : int32_t { product, average, key, value };

// Squared norms of keys and values as shares of those nearby; see norm-shares.ts.
struct NormSharesCall {
  BatchRows rows;
  ShareRule rule;
  int32_t localWindow, sinks;
  float* scores;  // [rowIndptr[numRows]]
};

// nullptr, or what is wrong with the call. The rows must have passed checkRows.
const char* checkNormShares(const NormSharesCall& call);

void normShares(const NormSharesCall& call, const ParallelFor& parallelFor);

// ‖key‖² and ‖value‖² of every slot of a row; either may be nullptr.
using SquaresOfRow = void (*)(const Row& row, float* keys, float* values);
KV_DECLARE_VARIANTS(SquaresOfRow, squaresOfRow)

}  // namespace kv
