#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

// norms[rowIndptr[r] + j] = ‖W_O v‖₁ of slot j of row r, W_O being the columns of a query head,
// averaged over the query heads of the row; for the rows of one layer of the batch.
struct ProjectedValueNormCall {
  BatchRows rows;
  int32_t layer;        // of the model
  int32_t hiddenSize;
  const float* weight;  // [hiddenSize, numQueryHeads × headDim]
  float* norms;
};

void projectedValueNorm(const ProjectedValueNormCall& call, const ParallelFor& parallelFor);

// Adds ‖W v‖₁ · factor of slots [begin, begin + count) of a row to sums [count].
struct Projection {
  Row row;
  int32_t begin, count, headDim, hiddenSize, stride;
  const float* weight;  // [hiddenSize] lines of headDim numbers, `stride` apart
  float factor;
  float* sums;
};

using Project = void (*)(const Projection& projection);
KV_DECLARE_VARIANTS(Project, project)

}  // namespace kv
