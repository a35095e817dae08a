// Compiled once per instruction set: attention sums of up to kMaxObserved queries over a row.
#include "panel.h"
#include "scratch.h"
#include "tile.h"
#include "window-score.h"

namespace kv::KV_ISA {
namespace {

constexpr int kMaxPanels = (kMaxObserved + kPanel - 1) / kPanel;

// A panel of queries with its running softmax.
struct ObservedPanel {
  int numQueries;
  int32_t position[kPanel];
  float maximum[kPanel], sum[kPanel];
  float* queries;  // [headDim][kPanel]
};

void packPanel(const Observation& o, int first, ObservedPanel& panel) {
  panel.numQueries = o.numQueries - first < kPanel ? o.numQueries - first : kPanel;
  for (int i = 0; i < kPanel; i++) {
    const bool used = i < panel.numQueries;
    panel.position[i] = o.queryPositions[first + (used ? i : 0)];
    panel.maximum[i] = kNoMaximum;
    panel.sum[i] = 0;
    for (int c = 0; c < o.headDim; c++)
      panel.queries[size_t(c) * kPanel + i] = used ? o.queries[first + i][c] * o.scale * kLog2E : 0;
  }
}

// Scores of a tile become weights relative to the panel's maximum so far.
template <int NV>
KV_INLINE void weighTile(const int32_t* positions, int count, int padded, bool masked, ObservedPanel& panel,
                         float* scores) {
  for (int v = 0; v < NV; v++) {
    const I query = load(panel.position + v * W);
    F highest = load(panel.maximum + v * W);
    const F before = highest;
    for (int j = 0; j < padded; j++) {
      float* s = scores + size_t(j) * kPanel + v * W;
      if (masked) {
        const I visible = query >= splat(j < count ? positions[j] : INT32_MAX);
        store(s, where(visible, load(s), splat(-__builtin_inff())));
      }
      highest = max(highest, load(s));
    }
    F total = {};
    for (int j = 0; j < padded; j++) {
      float* s = scores + size_t(j) * kPanel + v * W;
      const F weight = exp2(load(s) - highest);
      store(s, weight);
      total += weight;
    }
    store(panel.sum + v * W, load(panel.sum + v * W) * exp2(before - highest) + total);
    store(panel.maximum + v * W, highest);
  }
}

// Adds weights · factor (raised to the power, zero within the buffer) to one sum vector per token.
template <int NV>
KV_INLINE void addTile(const Observation& o, const int32_t* positions, int count, bool buffered,
                       const ObservedPanel& panel, const F* factor, const float* weights, float* sums) {
  for (int j = 0; j < count; j++) {
    F total = load(sums + size_t(j) * W);
    for (int v = 0; v < NV; v++) {
      F a = load(weights + size_t(j) * kPanel + v * W) * factor[v];
      if (o.power == 2) a *= a;
      if (buffered) {
        const I distance = load(panel.position + v * W) - positions[j];
        a = where(distance >= splat(o.buffer), a, F{});
      }
      total += a;
    }
    store(sums + size_t(j) * W, total);
  }
}

// Weights · factor, one line of all tokens per query.
void storeTile(const Observation& o, int tile, int count, int panelIndex, const ObservedPanel& panel,
               const F* factor, const float* weights) {
  float factors[kPanel];
  for (int v = 0; v < kVectors; v++) store(factors + v * W, factor[v]);
  for (int i = 0; i < panel.numQueries; i++) {
    float* line =
        o.weights + size_t(panelIndex * kPanel + i) * o.row.length + size_t(tile) * kTile;
    for (int j = 0; j < count; j++) line[j] = weights[size_t(j) * kPanel + i] * factors[i];
  }
}

void observeRow(const Observation& o) {
  const int length = o.row.length, d = o.headDim;
  const int numTiles = (length + kTile - 1) / kTile;
  const int numPanels = (o.numQueries + kPanel - 1) / kPanel;
  const size_t tileWeights = size_t(kTile) * kPanel;
  float* keys = scratchFloats(size_t(kTile) * (d + W) + size_t(numPanels) * d * kPanel +
                              size_t(numTiles) * numPanels * (tileWeights + kPanel));
  float* lines = keys + size_t(kTile) * d;
  float* queries = lines + size_t(kTile) * W;
  float* maxima = queries + size_t(numPanels) * d * kPanel;  // of a panel after each tile
  float* weights = maxima + size_t(numTiles) * numPanels * kPanel;
  ObservedPanel panels[kMaxPanels];
  for (int p = 0; p < numPanels; p++) {
    panels[p].queries = queries + size_t(p) * d * kPanel;
    packPanel(o, p * kPanel, panels[p]);
  }
  const int lowest = o.queryPositions[0], highest = o.queryPositions[o.numQueries - 1];
  const auto countOf = [&](int t) {
    return length - t * kTile < kTile ? length - t * kTile : kTile;
  };
  const auto extremes = [&](int t, int32_t& low, int32_t& high) {
    low = INT32_MAX, high = INT32_MIN;
    for (int j = 0; j < countOf(t); j++) {
      const int32_t position = o.keyPositions[t * kTile + j];
      low = position < low ? position : low;
      high = position > high ? position : high;
    }
  };
  int32_t low, high;
  for (int t = 0; t < numTiles; t++) {
    const int count = countOf(t), padded = roundUp(count, kUnroll);
    extremes(t, low, high);
    if (low > highest) continue;
    loadKeys(o.row, t * kTile, count, d, keys);
    std::memset(keys + size_t(count) * d, 0, size_t(padded - count) * d * 4);
    for (int p = 0; p < numPanels; p++) {
      const size_t index = size_t(t) * numPanels + p;
      float* scores = weights + index * tileWeights;
      withVectors(panels[p].numQueries, [&](auto vectors) {
        constexpr int NV = decltype(vectors)::value;
        panelScores<NV>(keys, d, padded, panels[p].queries, scores);
        weighTile<NV>(o.keyPositions + t * kTile, count, padded, high > lowest || count < padded,
                      panels[p], scores);
      });
      std::memcpy(maxima + index * kPanel, panels[p].maximum, sizeof panels[p].maximum);
    }
  }
  for (int t = 0; t < numTiles; t++) {
    extremes(t, low, high);
    if (low > highest) continue;
    std::memset(lines, 0, size_t(kTile) * W * 4);
    for (int p = 0; p < numPanels; p++) {
      const size_t index = size_t(t) * numPanels + p;
      F factor[kVectors];
      for (int v = 0; v < kVectors; v++) {
        float used[W];
        for (int i = 0; i < W; i++) used[i] = v * W + i < panels[p].numQueries;
        const F total = load(panels[p].sum + v * W);
        // A query that sees no key at all has sum 0.
        factor[v] =
            where(total > F{},
                  exp2(load(maxima + index * kPanel + v * W) - load(panels[p].maximum + v * W)) *
                      load(used) / total,
                  F{});
      }
      if (o.weights) {
        storeTile(o, t, countOf(t), p, panels[p], factor, weights + index * tileWeights);
        continue;
      }
      withVectors(panels[p].numQueries, [&](auto vectors) {
        addTile<decltype(vectors)::value>(o, o.keyPositions + t * kTile, countOf(t),
                                          high > lowest - o.buffer, panels[p], factor,
                                          weights + index * tileWeights, lines);
      });
    }
    if (o.weights) continue;
    for (int j = 0; j < countOf(t); j++) o.sums[t * kTile + j] += sum(load(lines + size_t(j) * W));
  }
}

}  // namespace

extern const Observe observe = observeRow;

}  // namespace kv::KV_ISA
