#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

// Weighted leverage of the values of a row; see capacity-score.ts.
struct CapacityCall {
  BatchRows rows;
  const float* anchors;  // turned mean queries, [numSequences, numLayers, numQueryHeads, headDim]
  int32_t sinks;
  float tau, epsilon;
  float* scores;  // [rowIndptr[numRows]]
};

// nullptr, or what went wrong. The rows must have passed checkRows.
const char* capacityScore(const CapacityCall& call, const ParallelFor& parallelFor);

struct CapacityRow {
  Row row;
  const float* anchors;  // [group][headDim]
  int32_t group, headDim, sinks;
  float tau, epsilon;
  float* scores;  // [row.length]
};

// False when the values' products have no Cholesky factor.
using CapacityOfRow = bool (*)(const CapacityRow& row);
KV_DECLARE_VARIANTS(CapacityOfRow, capacityOfRow)

}  // namespace kv
