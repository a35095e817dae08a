#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

// Attention that tokens can expect from normally distributed queries; see gaussian-attention.ts.
struct GaussianCall {
  BatchRows rows;
  // Turned and scaled: a key's logit is k·mean + kᵀ covariance k. [numSequences, numLayers,
  // numQueryHeads, headDim (, headDim)]; covariances may be nullptr.
  const float *means, *covariances;
  int32_t sinks;
  bool valueNorm;
  float epsilon;
  float* scores;  // [rowIndptr[numRows]]
};

// The rows must have passed checkRows.
void gaussianAttention(const GaussianCall& call, const ParallelFor& parallelFor);

struct GaussianRow {
  Row row;
  const float *means, *covariances;  // [group][headDim (][headDim)]
  int32_t group, headDim, sinks;
  bool valueNorm;
  float epsilon;
  float* scores;  // [row.length]
};

using GaussianOfRow = void (*)(const GaussianRow& row);
KV_DECLARE_VARIANTS(GaussianOfRow, gaussianOfRow)

}  // namespace kv
