#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

// Leverage of every key before RoPE among those of its row, under a sketch; see key-leverage.ts.
struct LeverageCall {
  BatchRows rows;
  const int32_t* nextPositions;  // [numSequences]
  // Per sequence and layer: where its rotations begin in cos and sin (−1: keys are not rotated),
  // pairs per position, and what undoing multiplies by.
  const int32_t *tableBegins, *tableHalves;  // [numSequences × numLayers]
  const float* tableScales;                  // [numSequences × numLayers]
  const float *cos, *sin;
  size_t tableSize;
  const float* sketches;  // [numLayers × numKvHeads, headDim, sketch]
  int32_t sketch, sinks, recent;
  float ridge;
  float* scores;  // [rowIndptr[numRows]]
};

// nullptr, or what is wrong with the call. The rows must have passed checkRows.
const char* checkKeyLeverage(const LeverageCall& call);

// nullptr, or what went wrong.
const char* keyLeverage(const LeverageCall& call, const ParallelFor& parallelFor);

struct LeverageRow {
  Row row;
  const float *cos, *sin;  // of position 0; nullptr where keys are not rotated
  int32_t half;
  float scale;
  int32_t first, last;  // tokens at positions [first, last) take part; the others score +∞
  int32_t headDim, sketch;
  const float* matrix;  // [headDim][sketch]
  double ridge;
  float* scores;  // [row.length]
};

// False when the keys' products have no Cholesky factor.
using LeverageOfRow = bool (*)(const LeverageRow& row);
KV_DECLARE_VARIANTS(LeverageOfRow, leverageOfRow)

}  // namespace kv
