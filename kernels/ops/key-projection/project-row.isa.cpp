// Compiled once per instruction set: projections of the keys of one row, a tile at a time.
#include "key-projection.h"
#include "panel.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {

static void projections(const Row& row, const float* direction, float* scores) {
  const int width = row.arena->keyWidth, stride = roundUp(width, W);
  float* keys = scratchFloats(size_t(kTile + 1) * stride);
  float* along = keys + size_t(kTile) * stride;
  for (int c = 0; c < stride; c++) along[c] = c < width ? direction[c] : 0;
  for (int begin = 0; begin < row.length; begin += kTile) {
    const int count = row.length - begin < kTile ? row.length - begin : kTile;
    loadKeys(row, begin, count, stride, keys);
    for (int j = 0; j < count; j++) {
      F dot = {};
      for (int c = 0; c < stride; c += W)
        dot += load(keys + size_t(j) * stride + c) * load(along + c);
      scores[begin + j] = -sum(dot);
    }
  }
}

extern const ProjectRow projectRow = projections;

}  // namespace kv::KV_ISA
