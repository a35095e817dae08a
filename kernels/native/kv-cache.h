// The memory of a paged cache as the C++ kernels see it. Every array belongs to the host; its
// meaning and shape are those of the same name in packages/core/src/host-cache.ts.
#pragma once
#include <cstddef>
#include <cstdint>

struct KvArena {
  uint8_t* storage;
  int32_t* positions;
  float* sumAttention;
  float* sumSquaredAttention;
  int32_t blockSize, numBlocks;
  int32_t keyDtype, keyWidth, valueDtype, valueWidth;  // dtype: 0 = f32, 1 = f16
};

struct KvCache {
  int32_t numLayers, numQueryHeads, numKvHeads, headDim;
  int32_t maxSequences, maxBlocksPerRow, windowSize, numArenas;
  KvArena arenas[8];
  const uint8_t* arenaOfLayer;
  const int32_t* layerMap;
  int32_t* blockTables;
  int32_t* lengths;
  int32_t* nextPositions;
  float* windowQueries;
};

namespace kv {

constexpr int32_t kF32 = 0, kF16 = 1;

// Bits of a step's signalFlags.
constexpr int32_t kWindowQueries = 1, kSumAttention = 2, kSumSquaredAttention = 4;

// Functions of this header have internal linkage, because files of different instruction sets
// include it (see isa.h).
static inline size_t keyBytes(const KvArena& a) {
  return size_t(a.keyDtype == kF16 ? 2 : 4) * a.keyWidth;
}
static inline size_t valueBytes(const KvArena& a) {
  return size_t(a.valueDtype == kF16 ? 2 : 4) * a.valueWidth;
}

// One row of the cache (sequence, layer, KV head): `length` tokens in the slots of its blocks.
struct Row {
  const KvArena* arena;
  const int32_t* blocks;
  int32_t length;
};

// Keys of block `index` of the row; its values begin blockSize × keyBytes later.
static inline uint8_t* blockOf(const Row& row, int32_t index) {
  const KvArena& a = *row.arena;
  return a.storage + size_t(row.blocks[index]) * a.blockSize * (keyBytes(a) + valueBytes(a));
}
static inline uint8_t* keyOf(const Row& row, int32_t slot) {
  const int32_t size = row.arena->blockSize;
  return blockOf(row, slot / size) + slot % size * keyBytes(*row.arena);
}
static inline uint8_t* valueOf(const Row& row, int32_t slot) {
  const int32_t size = row.arena->blockSize;
  return blockOf(row, slot / size) + size * keyBytes(*row.arena) +
         slot % size * valueBytes(*row.arena);
}
// Index into the arena's per-slot arrays: positions, Σa, Σa².
static inline size_t physicalSlot(const Row& row, int32_t slot) {
  const int32_t size = row.arena->blockSize;
  return size_t(row.blocks[slot / size]) * size + slot % size;
}

// The row that `layer` reads: another layer's where the layer map says so.
static inline Row rowOf(const KvCache& cache, int32_t sequence, int32_t layer, int32_t head) {
  const int32_t owner = cache.layerMap[layer];
  const size_t row = (size_t(sequence) * cache.numLayers + owner) * cache.numKvHeads + head;
  const uint8_t arena = cache.arenaOfLayer[size_t(sequence) * cache.numLayers + owner];
  return {&cache.arenas[arena], cache.blockTables + row * cache.maxBlocksPerRow,
          cache.lengths[row]};
}

// nullptr when the row can be read safely, else what is wrong with it.
static inline const char* checkRow(const KvCache& cache, const Row& row) {
  const KvArena& arena = *row.arena;
  if (arena.keyDtype < 0 || arena.keyDtype > 1 || arena.valueDtype < 0 || arena.valueDtype > 1)
    return "the arena's entries are stored as neither f32 nor f16";
  if (arena.keyWidth != cache.headDim || arena.valueWidth != cache.headDim)
    return "the arena's entries are not headDim numbers wide";
  if (row.length < 0 || row.length > int64_t(cache.maxBlocksPerRow) * arena.blockSize)
    return "a row's length does not fit its block table";
  const int32_t blocks = (row.length + arena.blockSize - 1) / arena.blockSize;
  for (int32_t i = 0; i < blocks; i++)
    if (row.blocks[i] < 0 || row.blocks[i] >= arena.numBlocks)
      return "a block table names a block that does not exist";
  return nullptr;
}

}  // namespace kv
