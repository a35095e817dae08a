#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

struct LagSpreadCall {
  BatchRows rows;  // must have passed checkRows
  int32_t sinks, lag;
  bool crossScoring;
  float* scores;
};

// nullptr when the call can be run, else what is wrong with it.
const char* checkLagSpread(const LagSpreadCall& call);

// What kernels/ops/lag-spread/lag-spread.ts defines.
void lagSpread(const LagSpreadCall& call, const ParallelFor& parallelFor);

// Partitions of a row: `count` of them from token `first` on, each of `lag` tokens and followed by
// another; order[j] = slot of the j-th token, null where it is j.
struct Partitions {
  const int32_t* order;
  int32_t first, lag, count;
};

// Adds the mean spread of keys and values to spread[count × lag].
using SpreadRow = void (*)(const Row& row, const Partitions& partitions, double* spread);
KV_DECLARE_VARIANTS(SpreadRow, spreadRow)

}  // namespace kv
