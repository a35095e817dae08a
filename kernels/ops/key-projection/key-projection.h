#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

// scores[rowIndptr[r] + j] = −⟨direction of row r's layer and head, key of slot j⟩, directions
// [cache.numLayers, numKvHeads, headDim]. The rows must have passed checkRows.
void keyProjection(const BatchRows& rows, const float* directions, float* scores,
                   const ParallelFor& parallelFor);

using ProjectRow = void (*)(const Row& row, const float* direction, float* scores);
KV_DECLARE_VARIANTS(ProjectRow, projectRow)

}  // namespace kv
