// Compiled once per instruction set: attention weights of one query head's queries on listed keys,
// reduced over the queries.
#include <cmath>
#include <cstring>

#include "panel.h"
#include "query-attention.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();

// Up to kPanel queries with their softmax so far; logits are in base 2.
struct LookedPanel {
  int32_t numQueries;
  int32_t position[kPanel];
  float maximum[kPanel], sum[kPanel];
  float shift[kPanel];  // log2 of factor / Σ: a weight is 2^(logit + shift)
};

void packPanel(const HeadQueries& h, int first, LookedPanel& panel, float* queries) {
  panel.numQueries = h.count - first < kPanel ? h.count - first : kPanel;
  for (int i = 0; i < kPanel; i++) {
    const bool used = i < panel.numQueries;
    const float* query = h.queries + size_t(first + (used ? i : 0)) * h.stride;
    panel.position[i] = h.start + first + (used ? i : 0);
    panel.maximum[i] = kNoMaximum;
    panel.sum[i] = 0;
    for (int c = 0; c < h.headDim; c++)
      queries[size_t(c) * kPanel + i] = used ? query[c] * h.scale * kLog2E : 0;
  }
}

// Masks what comes after the query, and takes the tile into the running softmax.
template <int NV>
KV_INLINE void addTile(const int32_t* positions, int count, int padded, bool masked, LookedPanel& panel,
                       float* logits) {
  for (int v = 0; v < NV; v++) {
    const I query = load(panel.position + v * W);
    const F before = load(panel.maximum + v * W);
    F highest = before;
    for (int j = 0; j < padded; j++) {
      float* s = logits + size_t(j) * kPanel + v * W;
      if (masked) {
        const I visible = query >= splat(j < count ? positions[j] : INT32_MAX);
        store(s, where(visible, load(s), splat(-kInfinity)));
      }
      highest = max(highest, load(s));
    }
    F total = {};
    for (int j = 0; j < padded; j++)
      total += exp2(load(logits + size_t(j) * kPanel + v * W) - highest);
    store(panel.sum + v * W, load(panel.sum + v * W) * exp2(before - highest) + total);
    store(panel.maximum + v * W, highest);
  }
}

void closePanel(const HeadQueries& h, int first, LookedPanel& panel) {
  for (int i = 0; i < kPanel; i++) {
    const float factor = i < panel.numQueries ? h.factors[first + i] : 0;
    // A query that sees no key, or whose weights count nothing, adds nothing.
    panel.shift[i] = panel.sum[i] > 0 && factor > 0
                         ? std::log2(factor / panel.sum[i]) - panel.maximum[i]
                         : -kInfinity;
  }
}

// Joins the panel's weights on `count` scored keys into one vector per key: maxima of their
// logarithms, or sums.
template <int NV>
KV_INLINE void reduceTile(QueryReduce reduce, int count, const LookedPanel& panel, const float* logits,
                          float* lines) {
  F shift[NV];
  for (int v = 0; v < NV; v++) shift[v] = load(panel.shift + v * W);
  for (int j = 0; j < count; j++) {
    F line = load(lines + size_t(j) * W);
    for (int v = 0; v < NV; v++) {
      const F logarithm = load(logits + size_t(j) * kPanel + v * W) + shift[v];
      if (reduce == QueryReduce::maximum)
        line = max(logarithm, line);
      else
        line += exp2(logarithm);
    }
    store(lines + size_t(j) * W, line);
  }
}

// Keys of the pieces, joined: [numKeys, headDim], zeros up to `padded` keys.
void loadPieces(const HeadQueries& h, int padded, float* keys) {
  float* to = keys;
  for (int i = 0; i < h.numPieces; i++) {
    loadKeys(h.row, h.pieces[i].begin, h.pieces[i].count, h.headDim, to);
    to += size_t(h.pieces[i].count) * h.headDim;
  }
  std::memset(to, 0, size_t(padded - h.numKeys) * h.headDim * 4);
}

void look(const HeadQueries& h) {
  const int d = h.headDim;
  const int numTiles = (h.numKeys + kTile - 1) / kTile;
  const int scoredTiles = (h.numScored + kTile - 1) / kTile;
  const size_t tileLogits = size_t(kTile) * kPanel;
  float* keys = scratchFloats(size_t(numTiles) * kTile * d + size_t(d) * kPanel +
                              (scoredTiles + 1) * tileLogits + size_t(scoredTiles) * kTile * W);
  float* queries = keys + size_t(numTiles) * kTile * d;
  float* logits = queries + size_t(d) * kPanel;  // of the scored tiles, and of one other
  float* lines = logits + (scoredTiles + 1) * tileLogits;
  const bool maximum = h.reduce == QueryReduce::maximum;
  for (int i = 0; i < scoredTiles * kTile * W; i++) lines[i] = maximum ? -kInfinity : 0;
  loadPieces(h, numTiles * kTile, keys);

  for (int first = 0; first < h.count; first += kPanel) {
    LookedPanel panel;
    packPanel(h, first, panel, queries);
    const int lowest = panel.position[0], last = panel.position[panel.numQueries - 1];
    withVectors(panel.numQueries, [&](auto vectors) {
      constexpr int NV = decltype(vectors)::value;
      for (int t = 0; t < numTiles; t++) {
        const int begin = t * kTile;
        const int count = h.numKeys - begin < kTile ? h.numKeys - begin : kTile;
        int32_t low = INT32_MAX, high = INT32_MIN;
        for (int j = begin; j < begin + count; j++) {
          low = h.positions[j] < low ? h.positions[j] : low;
          high = h.positions[j] > high ? h.positions[j] : high;
        }
        if (low > last && t >= scoredTiles) continue;
        const int padded = roundUp(count, kUnroll);
        float* own = logits + (t < scoredTiles ? t : scoredTiles) * tileLogits;
        panelScores<NV>(keys + size_t(begin) * d, d, padded, queries, own);
        addTile<NV>(h.positions + begin, count, padded, high > lowest || count < padded, panel,
                    own);
      }
      closePanel(h, first, panel);
      for (int t = 0; t < scoredTiles; t++) {
        const int left = h.numScored - t * kTile;
        reduceTile<NV>(h.reduce, left < kTile ? left : kTile, panel, logits + t * tileLogits,
                       lines + size_t(t) * kTile * W);
      }
    });
  }
  for (int j = 0; j < h.numScored; j++) {
    const F line = load(lines + size_t(j) * W);
    h.out[j] = maximum ? std::exp2(maxOf(line)) : sum(line);
  }
}

}  // namespace

extern const LookAtKeys lookAtKeys = look;

}  // namespace kv::KV_ISA
