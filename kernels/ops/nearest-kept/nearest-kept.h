#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

struct NearestKeptCall {
  BatchRows rows;
  const uint32_t* indptr;   // [rows + 1]
  const uint32_t* indices;  // kept slots of each row, ascending
  size_t numIndices;
  uint32_t* nearest;  // [totalSlots]
  float* similarity;  // [totalSlots]
};

// nullptr when the kept slots are slots of their rows, ascending, else what is wrong.
const char* checkNearestKept(const NearestKeptCall& call);

// For every slot that is not kept: the kept slot of its row with the most similar key, the lower one
// where equal, and the cosine of the two keys. Kept slots get 0. The rows must have passed checkRows.
void nearestKept(const NearestKeptCall& call, const ParallelFor& parallelFor);

using NearestKeptRow = void (*)(const Row& row, const uint32_t* kept, int numKept,
                                uint32_t* nearest, float* similarity);
KV_DECLARE_VARIANTS(NearestKeptRow, nearestKeptRow)

}  // namespace kv
