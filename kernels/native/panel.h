// Micro-kernels of flash attention for many queries. Queries lie along the vector lanes, so that
// softmax needs no sums across lanes and cached entries are read in their own layout.
//
// A panel is kPanel query rows. Transposed arrays have one line of kPanel floats per channel
// (queries, outputs) or per cached token (scores); a panel with fewer rows uses NV < kVectors
// vectors of each line.
#pragma once
#include "simd.h"

namespace kv::KV_ISA {

constexpr int kVectors = 3;
constexpr int kPanel = kVectors * W;
constexpr int kUnroll = W == 16 ? 8 : 4;  // cached tokens (or channels) per micro-kernel
constexpr int kTile = 128;                // cached tokens per tile

constexpr int roundUp(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// scores[j] = Σ_c keys[j][c] · queries[c] for j < numKeys (a multiple of kUnroll).
template <int NV>
KV_INLINE void panelScores(const float* keys, int headDim, int numKeys, const float* queries,
                           float* scores) {
  for (int j = 0; j < numKeys; j += kUnroll) {
    F sums[kUnroll][NV] = {};
    const float* key = keys + size_t(j) * headDim;
    for (int c = 0; c < headDim; c++) {
      F q[NV];
      for (int v = 0; v < NV; v++) q[v] = load(queries + size_t(c) * kPanel + v * W);
      for (int u = 0; u < kUnroll; u++) {
        const float k = key[size_t(u) * headDim + c];
        for (int v = 0; v < NV; v++) sums[u][v] += k * q[v];
      }
    }
    for (int u = 0; u < kUnroll; u++)
      for (int v = 0; v < NV; v++) store(scores + size_t(j + u) * kPanel + v * W, sums[u][v]);
  }
}

// out[c] = out[c] · keep + Σ_j values[j][c] · weights[j] for c < width (a multiple of kUnroll).
template <int NV>
KV_INLINE void panelValues(const float* values, int width, int numKeys, const float* weights,
                           const F* keep, float* out) {
  for (int c = 0; c < width; c += kUnroll) {
    F sums[kUnroll][NV];
    for (int u = 0; u < kUnroll; u++)
      for (int v = 0; v < NV; v++)
        sums[u][v] = load(out + size_t(c + u) * kPanel + v * W) * keep[v];
    const float* value = values + c;
    for (int j = 0; j < numKeys; j++) {
      F w[NV];
      for (int v = 0; v < NV; v++) w[v] = load(weights + size_t(j) * kPanel + v * W);
      for (int u = 0; u < kUnroll; u++) {
        const float x = value[size_t(j) * width + u];
        for (int v = 0; v < NV; v++) sums[u][v] += x * w[v];
      }
    }
    for (int u = 0; u < kUnroll; u++)
      for (int v = 0; v < NV; v++) store(out + size_t(c + u) * kPanel + v * W, sums[u][v]);
  }
}

// Calls f with the number of vectors that `rows` query rows need, as a compile-time constant.
template <int N>
struct Vectors {
  static constexpr int value = N;
};
template <class Function>
KV_INLINE void withVectors(int rows, const Function& f) {
  if (rows > 2 * W)
    f(Vectors<3>{});
  else if (rows > W)
    f(Vectors<2>{});
  else
    f(Vectors<1>{});
}

}  // namespace kv::KV_ISA
