// Compiled once per instruction set: softmax over the keys before a window of logits that a group of
// query heads shares, averaged over the queries. Queries lie along the vector lanes.
#include "panel.h"
#include "scratch.h"
#include "tile.h"
#include "window-importance.h"

namespace kv::KV_ISA {
namespace {

// Queries [first, first + count) of one member of the group, in base 2: [headDim][kPanel].
void packQueries(const GroupQueries& g, int first, int count, int member, float* lanes) {
  const float factor = g.scale * kLog2E / (g.maximum ? 1.f : float(g.groupSize));
  for (int i = 0; i < kPanel; i++) {
    const float* query = g.queries[size_t(first + (i < count ? i : 0)) * g.groupSize + member];
    for (int c = 0; c < g.headDim; c++) lanes[size_t(c) * kPanel + i] = query[c] * factor;
  }
}

// Logits of a tile of keys, joined over the group: [padded][kPanel].
template <int NV>
KV_INLINE void joinLogits(const GroupQueries& g, const float* keys, int padded, const float* lanes,
                          float* other, float* logits) {
  const size_t size = size_t(g.headDim) * kPanel;
  panelScores<NV>(keys, g.headDim, padded, lanes, logits);
  for (int member = 1; member < g.groupSize; member++) {
    panelScores<NV>(keys, g.headDim, padded, lanes + member * size, other);
    for (int j = 0; j < padded; j++)
      for (int v = 0; v < NV; v++) {
        float* at = logits + size_t(j) * kPanel + v * W;
        const F logit = load(other + size_t(j) * kPanel + v * W);
        store(at, g.maximum ? max(load(at), logit) : load(at) + logit);
      }
  }
}

void weigh(const GroupQueries& g) {
  const int length = g.row.length, d = g.headDim;
  const int numTiles = (length + kTile - 1) / kTile;
  const size_t tile = size_t(kTile) * kPanel;
  float* keys = scratchFloats(size_t(kTile) * d + size_t(g.groupSize) * d * kPanel +
                              (numTiles + 1) * tile);
  float* lanes = keys + size_t(kTile) * d;
  float* other = lanes + size_t(g.groupSize) * d * kPanel;
  float* logits = other + tile;  // [length][kPanel]
  for (int first = 0; first < g.numQueries; first += kPanel) {
    const int count = g.numQueries - first < kPanel ? g.numQueries - first : kPanel;
    for (int member = 0; member < g.groupSize; member++)
      packQueries(g, first, count, member, lanes + size_t(member) * d * kPanel);
    withVectors(count, [&](auto vectors) {
      constexpr int NV = decltype(vectors)::value;
      F highest[NV], sums[NV] = {};
      for (int v = 0; v < NV; v++) highest[v] = splat(kNoMaximum);
      for (int t = 0; t < numTiles; t++) {
        const int here = length - t * kTile < kTile ? length - t * kTile : kTile;
        const int padded = roundUp(here, kUnroll);
        loadKeys(g.row, t * kTile, here, d, keys);
        __builtin_memset(keys + size_t(here) * d, 0, size_t(padded - here) * d * 4);
        joinLogits<NV>(g, keys, padded, lanes, other, logits + t * tile);
        for (int j = 0; j < here; j++)
          for (int v = 0; v < NV; v++) {
            float* at = logits + t * tile + size_t(j) * kPanel + v * W;
            if (g.positions[t * kTile + j] >= g.before) store(at, splat(-__builtin_inff()));
            highest[v] = max(load(at), highest[v]);
          }
      }
      for (int j = 0; j < length; j++)
        for (int v = 0; v < NV; v++) {
          float* at = logits + size_t(j) * kPanel + v * W;
          const F weight = exp2(load(at) - highest[v]);
          store(at, weight);
          sums[v] += weight;
        }
      F factor[NV];
      for (int v = 0; v < NV; v++) {
        float used[W];
        for (int i = 0; i < W; i++) used[i] = v * W + i < count ? 1.f / float(g.numQueries) : 0.f;
        factor[v] = where(sums[v] > F{}, load(used) / sums[v], F{});
      }
      for (int j = 0; j < length; j++) {
        F total = {};
        for (int v = 0; v < NV; v++)
          total += load(logits + size_t(j) * kPanel + v * W) * factor[v];
        g.means[j] += sum(total);
      }
    });
  }
}

}  // namespace

extern const WeighGroup weighGroup = weigh;

}  // namespace kv::KV_ISA
