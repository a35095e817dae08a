#pragma once
#include <cstddef>

#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

// How much a key looks like the others of its row: the mean cosine to them, softmax over the row.
// Every key pardons the newest one whose cosine to it is above the threshold (or, if none is, the
// row's first): that cosine counts 0. `scores` has rowIndptr[numRows] entries.
void keyRedundancy(const BatchRows& rows, float threshold, float* scores,
                   const ParallelFor& parallelFor);

// Unit keys [length, headDim] by position, zero up to a multiple of kRedundancyTile keys.
constexpr int32_t kRedundancyTile = 128;
struct UnitKeys {
  const float* keys;
  int32_t length, headDim;
  float threshold;
  int32_t* pardoned;  // [length]: the newest other key above the threshold, or 0
};

using FindPardoned = void (*)(const UnitKeys& units, int32_t begin, int32_t end);
KV_DECLARE_VARIANTS(FindPardoned, findPardoned)

}  // namespace kv
