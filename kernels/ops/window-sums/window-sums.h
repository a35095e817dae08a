#pragma once
#include "observed-row.h"

namespace kv {

// Attention summed over the last queries, per query head and slot. The row that begins at slot b has
// its query heads, one [length] after another, from b × group on. out: [totalSlots × group].
void windowSums(const WindowCall& call, float* out, const ParallelFor& parallelFor);

}  // namespace kv
