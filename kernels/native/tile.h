// Reads runs of cached tokens of a row into dense float arrays.
#pragma once
#include <cstring>

#include "kv-cache.h"
#include "simd.h"

namespace kv::KV_ISA {

// count numbers stored as `dtype` → floats.
static inline void toFloats(const uint8_t* from, int32_t dtype, size_t count, float* to) {
  if (dtype == kF32) {
    std::memcpy(to, from, count * 4);
    return;
  }
  const uint16_t* half = reinterpret_cast<const uint16_t*>(from);
  size_t i = 0;
  for (; i + W <= count; i += W) store(to + i, load(half + i));
  if (i == count) return;
  uint16_t rest[W] = {};
  float converted[W];
  std::memcpy(rest, half + i, (count - i) * 2);
  store(converted, load(rest));
  std::memcpy(to + i, converted, (count - i) * 4);
}

// Entries [count, width] with `stride` floats from line to line; what pads a line is zero.
static inline void toLines(const uint8_t* from, int32_t dtype, int count, int width, int stride,
                           float* to) {
  if (width == stride) return toFloats(from, dtype, size_t(count) * width, to);
  const size_t bytes = size_t(width) * (dtype == kF32 ? 4 : 2);
  for (int i = 0; i < count; i++, from += bytes, to += stride) {
    toFloats(from, dtype, width, to);
    std::memset(to + width, 0, size_t(stride - width) * 4);
  }
}

// Calls f(block, offset, count, done) for the pieces of slots [begin, begin + count) that lie in
// one block: `offset` in the block, `done` slots before the piece.
template <class Function>
KV_INLINE void forEachBlock(const Row& row, int begin, int count, const Function& f) {
  const int size = row.arena->blockSize;
  for (int done = 0; done < count;) {
    const int slot = begin + done, offset = slot % size;
    const int here = size - offset < count - done ? size - offset : count - done;
    f(slot / size, offset, here, done);
    done += here;
  }
}

// Keys of slots [begin, begin + count) → [count, stride].
static inline void loadKeys(const Row& row, int begin, int count, int stride, float* keys) {
  const KvArena& a = *row.arena;
  forEachBlock(row, begin, count, [&](int block, int offset, int here, int done) {
    toLines(blockOf(row, block) + offset * keyBytes(a), a.keyDtype, here, a.keyWidth, stride,
            keys + size_t(done) * stride);
  });
}

// Values of slots [begin, begin + count) → [count, stride].
static inline void loadValues(const Row& row, int begin, int count, int stride, float* values) {
  const KvArena& a = *row.arena;
  forEachBlock(row, begin, count, [&](int block, int offset, int here, int done) {
    toLines(blockOf(row, block) + a.blockSize * keyBytes(a) + offset * valueBytes(a), a.valueDtype,
            here, a.valueWidth, stride, values + size_t(done) * stride);
  });
}

static inline void loadPositions(const Row& row, int begin, int count, int32_t* positions) {
  forEachBlock(row, begin, count, [&](int block, int offset, int here, int done) {
    std::memcpy(positions + done,
                row.arena->positions + size_t(row.blocks[block]) * row.arena->blockSize + offset,
                size_t(here) * 4);
  });
}

}  // namespace kv::KV_ISA
