// Compiled once per instruction set: squared norms of the entries of one row, a tile at a time.
#include "norm-shares.h"
#include "panel.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {

static void squares(const float* entries, int count, int stride, float* out) {
  for (int j = 0; j < count; j++) {
    F total = {};
    for (int c = 0; c < stride; c += W) {
      const F x = load(entries + size_t(j) * stride + c);
      total += x * x;
    }
    out[j] = sum(total);
  }
}

static void squaresOfEntries(const Row& row, float* keys, float* values) {
  const int stride = roundUp(row.arena->keyWidth, W);
  float* entries = scratchFloats(size_t(kTile) * stride);
  for (int begin = 0; begin < row.length; begin += kTile) {
    const int count = row.length - begin < kTile ? row.length - begin : kTile;
    if (keys) {
      loadKeys(row, begin, count, stride, entries);
      squares(entries, count, stride, keys + begin);
    }
    if (values) {
      loadValues(row, begin, count, stride, entries);
      squares(entries, count, stride, values + begin);
    }
  }
}

extern const SquaresOfRow squaresOfRow = squaresOfEntries;

}  // namespace kv::KV_ISA
