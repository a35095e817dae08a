// What a step leaves in the cache besides attention sums: keys, values and window queries.
#pragma once
#include "paged-attention.h"

namespace kv {

// Writes the keys and values of all tokens into their slots and zeroes the slots' sums, unless the
// layer reads another layer's blocks; copies window queries into their ring.
void writeTokens(const PagedAttentionCall& call, const ParallelFor& parallelFor);

}  // namespace kv
