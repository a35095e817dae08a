#pragma once
#include "isa.h"
#include "observed-row.h"
#include "window-score.h"

namespace kv {

// Attention that a window's queries would pay if the tokens before it were all there is: logits are
// reduced over the query heads of a group, softmax over the keys before the window, mean over the
// queries, pooled along positions. The window's own tokens score 0.
struct WindowImportanceCall {
  WindowCall window;
  Pool pool;
  int32_t poolSize;
  GroupReduce groupReduce;  // mean or maximum
  float* scores;            // [rowIndptr[numRows]]
};

// nullptr, or what is wrong with the call. The rows must have passed checkRows.
const char* checkWindowImportance(const WindowImportanceCall& call);

void windowImportance(const WindowImportanceCall& call, const ParallelFor& parallelFor);

// A group's queries over the keys of one row.
struct GroupQueries {
  Row row;
  const int32_t* positions;      // [row.length], by slot
  int32_t before;                // keys at lower positions take part
  const float* const* queries;   // [numQueries, groupSize] of [headDim] each
  int32_t numQueries, groupSize, headDim;
  bool maximum;                  // of the group's logits, or their mean
  float scale;
  float* means;                  // [row.length], by slot: mean weight over the queries, added
};

using WeighGroup = void (*)(const GroupQueries& queries);
KV_DECLARE_VARIANTS(WeighGroup, weighGroup)

}  // namespace kv
