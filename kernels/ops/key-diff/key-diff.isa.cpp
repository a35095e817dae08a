// Compiled once per instruction set: likeness of a row's keys to their mean direction, in two passes
// over tiles of keys.
#include "key-diff.h"

#include "panel.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {

static void differencesOfRow(const Row& row, float* scores) {
  const int chunks = (row.arena->keyWidth + W - 1) / W, stride = chunks * W;
  float* keys = scratchFloats(size_t(kTile) * stride + 3 * stride);
  float* part = keys + size_t(kTile) * stride;
  double* mean = reinterpret_cast<double*>(part + stride);
  for (int c = 0; c < stride; c++) mean[c] = 0;
  for (int begin = 0; begin < row.length; begin += kTile) {
    const int count = row.length - begin < kTile ? row.length - begin : kTile;
    loadKeys(row, begin, count, stride, keys);
    for (int c = 0; c < stride; c++) part[c] = 0;
    for (int j = 0; j < count; j++) {
      const float* key = keys + size_t(j) * stride;
      F squares = {};
      for (int c = 0; c < chunks; c++) {
        const F x = load(key + c * W);
        squares += x * x;
      }
      const float length = __builtin_sqrtf(sum(squares));
      const float inverse = length > 0 ? 1 / length : 0;
      for (int c = 0; c < chunks; c++)
        store(part + c * W, load(part + c * W) + load(key + c * W) * inverse);
      scores[begin + j] = inverse;  // for the second pass
    }
    for (int c = 0; c < stride; c++) mean[c] += part[c];
  }
  double squares = 0;
  for (int c = 0; c < stride; c++) squares += mean[c] * mean[c];
  const double length = __builtin_sqrt(squares), inverse = length > 0 ? 1 / length : 0;
  for (int c = 0; c < stride; c++) part[c] = float(mean[c] * inverse);
  for (int begin = 0; begin < row.length; begin += kTile) {
    const int count = row.length - begin < kTile ? row.length - begin : kTile;
    loadKeys(row, begin, count, stride, keys);
    for (int j = 0; j < count; j++) {
      F dot = {};
      for (int c = 0; c < chunks; c++)
        dot += load(keys + size_t(j) * stride + c * W) * load(part + c * W);
      scores[begin + j] *= -sum(dot);
    }
  }
}

extern const KeyDiffRow keyDiffRow = differencesOfRow;

}  // namespace kv::KV_ISA
