// Compiled once per instruction set: sizes of values behind one head's output projection. Tokens lie
// along the vector lanes, so that absolute values add up without sums across lanes.
#include "panel.h"
#include "projected-value-norm.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {
namespace {

template <int NV>
KV_INLINE void addSizes(const float* products, int count, F* sizes) {
  for (int channel = 0; channel < count; channel++)
    for (int v = 0; v < NV; v++) {
      const F x = load(products + size_t(channel) * kPanel + v * W);
      sizes[v] += max(x, -x);
    }
}

void projectPanel(const Projection& p) {
  const int d = p.headDim;
  float* values = scratchFloats(size_t(kPanel) * d * 2 + size_t(kTile) * (d + kPanel));
  float* lanes = values + size_t(kPanel) * d;      // [headDim][kPanel]
  float* lines = lanes + size_t(kPanel) * d;       // [kTile][headDim] of the weight
  float* products = lines + size_t(kTile) * d;     // [kTile][kPanel]
  for (int first = 0; first < p.count; first += kPanel) {
    const int tokens = p.count - first < kPanel ? p.count - first : kPanel;
    loadValues(p.row, p.begin + first, tokens, d, values);
    for (int c = 0; c < d; c++)
      for (int i = 0; i < kPanel; i++)
        lanes[size_t(c) * kPanel + i] = i < tokens ? values[size_t(i) * d + c] : 0;
    F sizes[kVectors] = {};
    for (int channel = 0; channel < p.hiddenSize; channel += kTile) {
      const int count = p.hiddenSize - channel < kTile ? p.hiddenSize - channel : kTile;
      const int padded = roundUp(count, kUnroll);
      for (int i = 0; i < count; i++)
        std::memcpy(lines + size_t(i) * d, p.weight + size_t(channel + i) * p.stride, size_t(d) * 4);
      std::memset(lines + size_t(count) * d, 0, size_t(padded - count) * d * 4);
      withVectors(tokens, [&](auto vectors) {
        constexpr int NV = decltype(vectors)::value;
        panelScores<NV>(lines, d, padded, lanes, products);
        addSizes<NV>(products, padded, sizes);
      });
    }
    float all[kPanel];
    for (int v = 0; v < kVectors; v++) store(all + v * W, sizes[v]);
    for (int i = 0; i < tokens; i++) p.sums[first + i] += all[i] * p.factor;
  }
}

}  // namespace

extern const Project project = projectPanel;

}  // namespace kv::KV_ISA
