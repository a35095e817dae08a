// Compiled once per instruction set: for every key of a row the newest other key that looks like it.
#include "key-redundancy.h"
#include "panel.h"
#include "scratch.h"

namespace kv::KV_ISA {
namespace {

static_assert(kTile == kRedundancyTile);

// Keys `keys[0 … count)` of the row along the lanes: one line of kPanel floats per channel.
void packLanes(const UnitKeys& u, const int32_t* keys, int count, float* lanes) {
  for (int i = 0; i < kPanel; i++) {
    const float* key = u.keys + size_t(keys[i < count ? i : 0]) * u.headDim;
    for (int c = 0; c < u.headDim; c++) lanes[size_t(c) * kPanel + i] = key[c];
  }
}

// The newest of `count` keys from slot `first` on that each lane's key resembles, or −1.
template <int NV>
KV_INLINE void newestAlike(float threshold, const float* cosines, int32_t first, int count,
                           const int32_t* own, int32_t* found) {
  for (int v = 0; v < NV; v++) {
    const I mine = load(own + v * W);
    I best = splat(-1);
    for (int j = 0; j < count; j++) {
      const I other = splat(first + j);
      const F cosine = load(cosines + size_t(j) * kPanel + v * W);
      best = (cosine > splat(threshold)) & (mine != other) ? other : best;
    }
    __builtin_memcpy(found + v * W, &best, sizeof best);
  }
}

// Keys [begin, end) against tiles of all keys from the newest on; those that have found their
// look-alike leave, and the others close up.
void find(const UnitKeys& u, int32_t begin, int32_t end) {
  const int d = u.headDim;
  const int numKeys = end - begin;
  float* lanes = scratchFloats(size_t(d) * kPanel + size_t(kTile) * kPanel + numKeys + kPanel);
  float* cosines = lanes + size_t(d) * kPanel;
  int32_t* searching = reinterpret_cast<int32_t*>(cosines + size_t(kTile) * kPanel);
  for (int i = 0; i < numKeys; i++) searching[i] = begin + i;
  int left = numKeys;
  for (int t = (u.length + kTile - 1) / kTile - 1; t >= 0 && left > 0; t--) {
    const int first = t * kTile;
    const int count = u.length - first < kTile ? u.length - first : kTile;
    int kept = 0;
    for (int at = 0; at < left; at += kPanel) {
      const int panel = left - at < kPanel ? left - at : kPanel;
      int32_t own[kPanel], found[kPanel];
      for (int i = 0; i < kPanel; i++) own[i] = searching[at + (i < panel ? i : 0)];
      packLanes(u, own, panel, lanes);
      withVectors(panel, [&](auto vectors) {
        constexpr int NV = decltype(vectors)::value;
        panelScores<NV>(u.keys + size_t(first) * d, d, roundUp(count, kUnroll), lanes, cosines);
        newestAlike<NV>(u.threshold, cosines, first, count, own, found);
      });
      for (int i = 0; i < panel; i++)
        if (found[i] < 0)
          searching[kept++] = own[i];
        else
          u.pardoned[own[i]] = found[i];
    }
    left = kept;
  }
  for (int i = 0; i < left; i++) u.pardoned[searching[i]] = 0;
}

}  // namespace

extern const FindPardoned findPardoned = find;

}  // namespace kv::KV_ISA
