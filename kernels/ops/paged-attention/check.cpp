#include "paged-attention.h"

namespace kv {
namespace {

const char* checkSequence(const PagedAttentionCall& call, int32_t s) {
  const KvCache& cache = *call.cache;
  const int32_t sequence = call.sequences[s], flags = call.signalFlags[s];
  if (sequence < 0 || sequence >= cache.maxSequences) return "a sequence slot does not exist";
  const int32_t numNew = call.cuTokens[s + 1] - call.cuTokens[s];
  if (numNew < 0) return "cuTokens decreases";
  for (int32_t t = call.cuTokens[s]; t < call.cuTokens[s + 1]; t++)
    if (call.positions[t] < 0) return "a position is negative";
  if (flags & kWindowQueries && (cache.windowSize < 1 || !cache.windowQueries))
    return "window queries are asked for, but the cache was made without a ring for them";
  const int32_t owner = cache.layerMap[call.layer];
  if (owner < 0 || owner >= cache.numLayers)
    return "the layer map names a layer that does not exist";
  if (cache.arenaOfLayer[size_t(sequence) * cache.numLayers + owner] >= cache.numArenas)
    return "a layer names an arena that does not exist";
  for (int32_t head = 0; head < cache.numKvHeads; head++) {
    const Row row = rowOf(cache, sequence, call.layer, head);
    if (const char* problem = checkRow(cache, row)) return problem;
    if (row.length < numNew) return "a row is shorter than the step: append the tokens first";
    if ((flags & kSumAttention && !row.arena->sumAttention) ||
        (flags & kSumSquaredAttention && !row.arena->sumSquaredAttention))
      return "attention sums are asked for, but the arena has no array for them";
  }
  return nullptr;
}

}  // namespace

const char* checkPagedAttention(const PagedAttentionCall& call) {
  const KvCache& cache = *call.cache;
  if (call.layer < 0 || call.layer >= cache.numLayers) return "the layer does not exist";
  if (cache.numKvHeads < 1 || cache.numQueryHeads % cache.numKvHeads != 0)
    return "the query heads are not a multiple of the KV heads";
  if (call.slidingWindow < 0) return "sliding_window is negative";
  if (call.cuTokens[0] != 0 || call.cuTokens[call.numSequences] != call.numTokens)
    return "cuTokens must run from 0 to the number of tokens";
  for (int32_t s = 0; s < call.numSequences; s++)
    if (const char* problem = checkSequence(call, s)) return problem;
  return nullptr;
}

}  // namespace kv
