// Compiled once per instruction set: norms of the keys of one row, a tile at a time.
#include "key-norm.h"

#include "panel.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {

static void normsOfRow(const Row& row, float* scores) {
  const int chunks = (row.arena->keyWidth + W - 1) / W, stride = chunks * W;
  float* keys = scratchFloats(size_t(kTile) * stride);
  for (int begin = 0; begin < row.length; begin += kTile) {
    const int count = row.length - begin < kTile ? row.length - begin : kTile;
    loadKeys(row, begin, count, stride, keys);
    for (int j = 0; j < count; j++) {
      F squares = {};
      for (int c = 0; c < chunks; c++) {
        const F x = load(keys + size_t(j) * stride + c * W);
        squares += x * x;
      }
      scores[begin + j] = -__builtin_sqrtf(sum(squares));
    }
  }
}

extern const KeyNormRow keyNormRow = normsOfRow;

}  // namespace kv::KV_ISA
