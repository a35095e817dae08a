#pragma once
#include "isa.h"
#include "kv-cache.h"
#include "parallel.h"

namespace kv {

enum class QueryReduce : int32_t { maximum, sum };

// Attention that given queries pay to the cached tokens of one sequence and layer, gathered by
// position: per query head, softmax over the seen keys not after the query, times the query's
// factor; the maximum or sum over the queries joins what the table holds.
struct QueryAttentionCall {
  const KvCache* cache;
  int32_t sequence, layer;
  const float* queries;  // [count, numQueryHeads, headDim]
  const float* factors;  // [count]
  int32_t count, start;  // positions start … start + count − 1
  const int32_t* seen;   // [numRanges, 2]: positions from, to
  int32_t numRanges;
  int32_t scoredFrom, scoredTo;  // positions whose weights are wanted, within [0, width]
  QueryReduce reduce;
  float scale;   // on the logits
  float* table;  // [numQueryHeads, width]
  int32_t width;
};

// nullptr, or what is wrong with the call.
const char* checkQueryAttention(const QueryAttentionCall& call);

void queryAttention(const QueryAttentionCall& call, const ParallelFor& parallelFor);

// The queries of one query head over keys by list: `slots` are pieces of the row's slots whose
// tokens, joined, have `positions`; the scored ones come first.
struct SlotPiece {
  int32_t begin, count;
};
struct HeadQueries {
  Row row;
  const SlotPiece* pieces;
  int32_t numPieces, numKeys, numScored;
  const int32_t* positions;  // [numKeys]
  const float* queries;      // of the first query; `stride` floats to the next
  size_t stride;
  const float* factors;
  int32_t count, start, headDim;
  QueryReduce reduce;
  float scale;
  float* out;  // [numScored]: maximum or sum of the weights
};

using LookAtKeys = void (*)(const HeadQueries& head);
KV_DECLARE_VARIANTS(LookAtKeys, lookAtKeys)

}  // namespace kv
