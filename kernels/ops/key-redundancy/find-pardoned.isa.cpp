// Compiled once per instruction set: for every key of a row the newest other key that looks like it.
#include "key-redundancy.h"
#include "panel.h"
#include "scratch.h"

namespace kv::KV_ISA {
namespace {

static_assert(kTile == kRedundancyTile);

// Keys [begin, end) along the lanes, against tiles of all keys from the newest on, until each lane
// has found its look-alike.
void find(const UnitKeys& u, int32_t begin, int32_t end) {
  const int d = u.headDim;
  float* lanes = scratchFloats(size_t(d) * kPanel + size_t(kTile) * kPanel);
  float* cosines = lanes + size_t(d) * kPanel;
  int32_t own[kPanel], found[kPanel];
  for (int32_t first = begin; first < end; first += kPanel) {
    const int count = end - first < kPanel ? end - first : kPanel;
    for (int i = 0; i < kPanel; i++) {
      const float* key = u.keys + size_t(first + (i < count ? i : 0)) * d;
      own[i] = first + (i < count ? i : 0);
      found[i] = i < count ? -1 : 0;
      for (int c = 0; c < d; c++) lanes[size_t(c) * kPanel + i] = key[c];
    }
    withVectors(count, [&](auto vectors) {
      constexpr int NV = decltype(vectors)::value;
      bool left = true;
      for (int t = (u.length + kTile - 1) / kTile - 1; t >= 0 && left; t--) {
        const int newest = (u.length - t * kTile < kTile ? u.length - t * kTile : kTile) - 1;
        panelScores<NV>(u.keys + size_t(t) * kTile * d, d, roundUp(newest + 1, kUnroll), lanes,
                        cosines);
        left = false;
        for (int v = 0; v < NV; v++) {
          const I mine = load(own + v * W);
          I best = load(found + v * W);
          for (int j = newest; j >= 0; j--) {
            const I other = splat(t * kTile + j);
            const F cosine = load(cosines + size_t(j) * kPanel + v * W);
            const I alike = (cosine > splat(u.threshold)) & (mine != other) & (best < splat(0));
            best = alike ? other : best;
          }
          __builtin_memcpy(found + v * W, &best, sizeof best);
          for (int i = 0; i < W; i++) left |= best[i] < 0;
        }
      }
    });
    for (int i = 0; i < count; i++) u.pardoned[first + i] = found[i] < 0 ? 0 : found[i];
  }
}

}  // namespace

extern const FindPardoned findPardoned = find;

}  // namespace kv::KV_ISA
