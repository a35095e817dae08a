#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

// scores[rowIndptr[r] + j] = −‖key of slot j of row r‖₂. The rows must have passed checkRows.
void keyNorm(const BatchRows& rows, float* scores, const ParallelFor& parallelFor);

using KeyNormRow = void (*)(const Row& row, float* scores);
KV_DECLARE_VARIANTS(KeyNormRow, keyNormRow)

}  // namespace kv
