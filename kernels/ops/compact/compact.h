#pragma once
#include <cstddef>

#include "kv-cache.h"
#include "parallel.h"

namespace kv {

// Copies tokens to other physical slots (block × blockSize + offset) of their arena: key, value,
// position and attention sums. moves [numMoves, 2]: source, destination. No slot is both a source
// and a destination and no destination is written twice, so that moves may run in any order.
// Returns nullptr, or what is wrong (nothing was moved then).
const char* compact(const KvArena& arena, const int32_t* moves, size_t numMoves,
                    const ParallelFor& parallelFor);

}  // namespace kv
