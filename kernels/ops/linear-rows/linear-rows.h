#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "isa.h"
#include "parallel.h"

namespace kv {

// out [numRows, outputs] = input [numRows, inputs] × weightᵀ [outputs, inputs] + bias.
struct LinearRowsCall {
  const float *input, *weight, *bias;
  int32_t numRows, inputs, outputs;
  float* out;
};

void linearRows(const LinearRowsCall& call, const ParallelFor& parallelFor);

struct LinearKernels {
  int32_t tile;                                       // rows of one piece of work
  size_t (*panelFloats)(const LinearRowsCall& call);  // of the packed weight
  void (*pack)(const LinearRowsCall& call, float* panels);
  void (*run)(const LinearRowsCall& call, const float* panels, int32_t firstRow);
  void (*gelu)(float* values, size_t count);
};
KV_DECLARE_VARIANTS(LinearKernels, linearKernels)

// x Φ(x) of every number, in place.
void geluInPlace(float* values, size_t count, const ParallelFor& parallelFor);

}  // namespace kv
