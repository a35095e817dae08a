// Compiled once per instruction set: cosines of a panel of evicted keys with all kept keys of a row,
// of which only the highest of each evicted key is held.
#include <cstring>

#include "nearest-kept.h"
#include "panel.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {
namespace {

constexpr float kLeastNorm = 1e-6f;

// The key of a slot, of length 1 (shorter where it is nearly nothing).
void loadUnitKey(const Row& row, int slot, int width, float* key) {
  toFloats(keyOf(row, slot), row.arena->keyDtype, width, key);
  float squares = 0;
  for (int c = 0; c < width; c++) squares += key[c] * key[c];
  const float norm = __builtin_sqrtf(squares);
  const float factor = 1.f / (norm > kLeastNorm ? norm : kLeastNorm);
  for (int c = 0; c < width; c++) key[c] *= factor;
}

struct Best {
  float cosine[kPanel];
  int32_t index[kPanel];
};

template <int NV>
KV_INLINE void keepBest(const float* scores, int first, int count, Best& best) {
  for (int v = 0; v < NV; v++) {
    F highest = load(best.cosine + v * W);
    I index = load(best.index + v * W);
    for (int j = 0; j < count; j++) {
      const F cosine = load(scores + size_t(j) * kPanel + v * W);
      const I better = cosine > highest;
      index = better ? splat(first + j) : index;
      highest = where(better, cosine, highest);
    }
    store(best.cosine + v * W, highest);
    std::memcpy(best.index + v * W, &index, sizeof index);
  }
}

void nearestOfRow(const Row& row, const uint32_t* kept, int numKept, uint32_t* nearest,
                  float* similarity) {
  const int width = row.arena->keyWidth;
  std::memset(nearest, 0, size_t(row.length) * 4);
  std::memset(similarity, 0, size_t(row.length) * 4);
  if (numKept == 0 || numKept == row.length) return;
  const int padded = roundUp(numKept, kUnroll);
  float* keys = scratchFloats(size_t(padded) * width + size_t(width) * kPanel +
                              size_t(kTile) * kPanel + width);
  float* panel = keys + size_t(padded) * width;
  float* scores = panel + size_t(width) * kPanel;
  float* key = scores + size_t(kTile) * kPanel;
  for (int j = 0; j < numKept; j++) loadUnitKey(row, int(kept[j]), width, keys + size_t(j) * width);
  std::memset(keys + size_t(numKept) * width, 0, size_t(padded - numKept) * width * 4);

  int32_t slots[kPanel];
  for (int slot = 0, next = 0; slot < row.length;) {
    int count = 0;
    for (; slot < row.length && count < kPanel; slot++) {
      if (next < numKept && int(kept[next]) == slot) {
        next++;
        continue;
      }
      loadUnitKey(row, slot, width, key);
      for (int c = 0; c < width; c++) panel[size_t(c) * kPanel + count] = key[c];
      slots[count++] = slot;
    }
    if (count == 0) break;
    for (int c = 0; c < width; c++)
      for (int i = count; i < kPanel; i++) panel[size_t(c) * kPanel + i] = 0;
    Best best;
    for (int i = 0; i < kPanel; i++) best.cosine[i] = -2, best.index[i] = 0;
    for (int first = 0; first < numKept; first += kTile) {
      const int here = numKept - first < kTile ? numKept - first : kTile;
      withVectors(count, [&](auto vectors) {
        constexpr int NV = decltype(vectors)::value;
        panelScores<NV>(keys + size_t(first) * width, width, roundUp(here, kUnroll), panel, scores);
        keepBest<NV>(scores, first, here, best);
      });
    }
    for (int i = 0; i < count; i++) {
      nearest[slots[i]] = kept[best.index[i]];
      similarity[slots[i]] = best.cosine[i];
    }
  }
}

}  // namespace

extern const NearestKeptRow nearestKeptRow = nearestOfRow;

}  // namespace kv::KV_ISA
