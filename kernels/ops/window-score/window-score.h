#pragma once
#include "batch-rows.h"
#include "isa.h"
#include "parallel.h"

namespace kv {

enum class Pool : int32_t { none, average, maximum };
enum class RowReduce : int32_t { mean, sum };
enum class GroupReduce : int32_t { mean, maximum, sum };

// Attention that the last queries of a sequence pay to every cached token. Per query head and
// query: softmax over all keys whose position is not above the query's, raised to `power`, zeroed
// within `buffer` positions; then reduced over queries, pooled along positions, and reduced over
// the query heads of the group.
struct WindowScoreCall {
  BatchRows rows;
  const int32_t* nextPositions;  // [numSequences]
  const int32_t* windowLengths;  // [numSequences]: valid entries of the ring
  int32_t window, power, buffer;
  Pool pool;
  int32_t poolSize;
  RowReduce rowReduce;
  GroupReduce groupReduce;
  bool poolFirst;  // pool every query head (and slab) before the group is reduced
  bool allHeads;   // reduce over all query heads of the layer: the same scores in every KV head
  int32_t slab;  // with poolFirst: queries per slab that is pooled before slabs are added; 0 = all
  bool excludeWindow;  // the window's own tokens score 0 and do not enter the pooling
  float scale;         // on the logits
  float* scores;       // [rowIndptr[numRows]]
};

// nullptr, or what is wrong with the call. The rows must have passed checkRows.
const char* checkWindowScore(const WindowScoreCall& call);

void windowScore(const WindowScoreCall& call, const ParallelFor& parallelFor);

// Queries that one observation takes.
constexpr int32_t kMaxObserved = 64;

// Adds the attention of a few queries of one query head to sums [row.length], in slot order.
struct Observation {
  Row row;
  const int32_t* keyPositions;           // [row.length]
  const float* queries[kMaxObserved];    // [headDim] each
  int32_t queryPositions[kMaxObserved];  // ascending
  int32_t numQueries, headDim, power, buffer;
  float scale;
  float* sums;
  // Where given, receives every query's attention instead: [numQueries, row.length], in slot order.
  // `power` and `buffer` do not apply.
  float* weights = nullptr;
};

using Observe = void (*)(const Observation& observation);
KV_DECLARE_VARIANTS(Observe, observe)

}  // namespace kv
