#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

// scores[rowIndptr[r] + j] = −cos(key of slot j of row r, mean of the row's unit keys). The rows must
// have passed checkRows.
void keyDiff(const BatchRows& rows, float* scores, const ParallelFor& parallelFor);

using KeyDiffRow = void (*)(const Row& row, float* scores);
KV_DECLARE_VARIANTS(KeyDiffRow, keyDiffRow)

}  // namespace kv
