#include "write-tokens.h"

#include <algorithm>
#include <cstring>

#include "attention-task.h"

namespace kv {
namespace {

void store(uint8_t* slot, const float* numbers, int32_t count, int32_t dtype) {
  if (dtype == kF32) {
    std::memcpy(slot, numbers, size_t(count) * 4);
  } else {
    attentionKernels().toHalf(numbers, count, reinterpret_cast<uint16_t*>(slot));
  }
}

void writeRow(const PagedAttentionCall& call, int32_t s, int32_t head) {
  const KvCache& cache = *call.cache;
  const int32_t d = cache.headDim, first = call.cuTokens[s], end = call.cuTokens[s + 1];
  const Row row = rowOf(cache, call.sequences[s], call.layer, head);
  for (int32_t token = first; token < end; token++) {
    const int32_t slot = row.length - end + token;
    const size_t source = (size_t(token) * cache.numKvHeads + head) * d;
    store(keyOf(row, slot), call.key + source, d, row.arena->keyDtype);
    store(valueOf(row, slot), call.value + source, d, row.arena->valueDtype);
    const size_t physical = physicalSlot(row, slot);
    if (row.arena->sumAttention) row.arena->sumAttention[physical] = 0;
    if (row.arena->sumSquaredAttention) row.arena->sumSquaredAttention[physical] = 0;
  }
}

void keepWindowQueries(const PagedAttentionCall& call, int32_t s) {
  const KvCache& cache = *call.cache;
  const size_t width = size_t(cache.numQueryHeads) * cache.headDim;
  const size_t layer = size_t(call.sequences[s]) * cache.numLayers + call.layer;
  float* ring = cache.windowQueries + layer * cache.windowSize * width;
  const int32_t end = call.cuTokens[s + 1];
  for (int32_t t = std::max(call.cuTokens[s], end - cache.windowSize); t < end; t++)
    std::memcpy(ring + call.positions[t] % cache.windowSize * width, call.query + t * width,
                width * sizeof(float));
}

}  // namespace

void writeTokens(const PagedAttentionCall& call, const ParallelFor& parallelFor) {
  const KvCache& cache = *call.cache;
  if (cache.layerMap[call.layer] == call.layer) {
    const auto write = [&](size_t item) {
      writeRow(call, int32_t(item) / cache.numKvHeads, int32_t(item) % cache.numKvHeads);
    };
    const size_t rows = size_t(call.numSequences) * cache.numKvHeads;
    // Waking other threads costs more than a few kilobytes.
    const bool small = size_t(call.numTokens) * cache.numKvHeads * cache.headDim < 16384;
    (small ? serial() : parallelFor)(rows, write);
  }
  for (int32_t s = 0; s < call.numSequences; s++)
    if (call.signalFlags[s] & kWindowQueries) keepWindowQueries(call, s);
}

}  // namespace kv
