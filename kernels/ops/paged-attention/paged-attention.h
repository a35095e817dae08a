// Attention of the tokens of a step over a paged cache, for ragged batches of sequences.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kv-cache.h"
#include "parallel.h"

namespace kv {

// Token i of sequence s has cuTokens[s] ≤ i < cuTokens[s + 1]; its slot is the one that the host
// appended for it: the T_s tokens of a sequence are the last T_s slots of each of its rows.
struct PagedAttentionCall {
  const KvCache* cache;
  const float* query;               // [T, numQueryHeads × headDim], after RoPE
  const float* key;                 // [T, numKvHeads × headDim], after RoPE
  const float* value;               // [T, numKvHeads × headDim]
  float* out;                       // [T, numQueryHeads × headDim]
  const int32_t* cuTokens;          // [numSequences + 1]
  const int32_t* positions;         // [T]
  const int32_t* sequences;         // [numSequences]: cache slots
  const int32_t* signalFlags;       // [numSequences]
  const int32_t* attentionBuffers;  // [numSequences]
  int32_t numSequences;
  int32_t numTokens;
  int32_t layer;
  int32_t slidingWindow;  // 0 = none
  float scale;
  float softcap;  // 0 = none
};

// nullptr, or what is wrong with the call (nothing was written then).
const char* checkPagedAttention(const PagedAttentionCall& call);

// Writes the step's keys and values into their slots, attends, writes the signals asked for.
// The call must have passed checkPagedAttention. The result of a sequence does not depend on the
// rest of the batch nor on the number of threads.
void pagedAttention(const PagedAttentionCall& call, const ParallelFor& parallelFor);

}  // namespace kv
