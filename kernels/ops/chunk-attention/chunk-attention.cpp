#include "chunk-attention.h"

#include <vector>

namespace kv {

const char* checkChunkAttention(const ChunkAttentionCall& call) {
  const KvCache& cache = *call.cache;
  if (call.sequence < 0 || call.sequence >= cache.maxSequences)
    return "the sequence does not exist";
  if (call.layer < 0 || call.layer >= cache.numLayers) return "the layer does not exist";
  if (call.chunk < 1) return "chunk must be positive";
  if (call.first < 0 || call.numQueries < 0) return "first or numQueries is negative";
  for (int32_t head = 0; head < cache.numKvHeads; head++)
    if (const char* problem = checkRow(cache, rowOf(cache, call.sequence, call.layer, head)))
      return problem;
  return nullptr;
}

void chunkAttention(const ChunkAttentionCall& call, const ParallelFor& parallelFor) {
  const KvCache& cache = *call.cache;
  const int32_t heads = cache.numKvHeads, group = cache.numQueryHeads / heads;
  const size_t apart = size_t(cache.numQueryHeads) * cache.headDim;
  std::vector<int32_t> slots(size_t(heads) * call.numQueries, -1);
  for (int32_t head = 0; head < heads; head++) {
    const Row row = rowOf(cache, call.sequence, call.layer, head);
    for (int32_t j = 0; j < row.length; j++) {
      const int32_t i = row.arena->positions[physicalSlot(row, j)] - call.first;
      if (i >= 0 && i < call.numQueries) slots[size_t(head) * call.numQueries + i] = j;
    }
  }
  const int32_t chunks = (call.numQueries + call.chunk - 1) / call.chunk;
  parallelFor(size_t(heads) * chunks, [&](size_t i) {
    const int32_t head = int32_t(i / chunks), from = int32_t(i % chunks) * call.chunk;
    const int32_t left = call.numQueries - from, count = left < call.chunk ? left : call.chunk;
    const size_t at = size_t(head) * call.numQueries + from;
    attendChunk()({rowOf(cache, call.sequence, call.layer, head), slots.data() + at,
                   call.queries + from * apart + size_t(head) * group * cache.headDim, apart, count,
                   group, cache.headDim, call.padded ? call.chunk - count : 0, call.chunk,
                   call.out + at});
  });
}

}  // namespace kv
