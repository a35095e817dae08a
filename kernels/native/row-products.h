// Products of tiles of rows, built on the panels of attention: a line of kPanel floats holds one
// number for each of kPanel columns. Rows lie `stride` floats apart, a multiple of kUnroll, and are
// zero beyond their width.
#pragma once
#include <cstring>

#include "panel.h"

namespace kv::KV_ISA {

constexpr int panelsOf(int count) { return (count + kPanel - 1) / kPanel; }

// matrix [height][width] → panels [panelsOf(height)][stride][kPanel], zero where it ends.
template <class T>
static inline void packPanels(const T* matrix, int height, int width, int stride, float* panels) {
  std::memset(panels, 0, size_t(panelsOf(height)) * stride * kPanel * 4);
  for (int r = 0; r < height; r++)
    for (int c = 0; c < width; c++)
      panels[(size_t(r / kPanel) * stride + c) * kPanel + r % kPanel] =
          float(matrix[size_t(r) * width + c]);
}

// Scratch of addProducts.
constexpr size_t productScratch(int stride) { return size_t(kTile + stride) * kPanel; }

// sums [width][width] += XᵀX for X = rows [count][stride], count ≤ kTile.
static inline void addProducts(const float* rows, int count, int width, int stride, float* scratch,
                               double* sums) {
  float* columns = scratch;
  float* out = columns + size_t(kTile) * kPanel;
  for (int first = 0; first < width; first += kPanel) {
    const int n = width - first < kPanel ? width - first : kPanel;
    for (int j = 0; j < count; j++) {
      float* line = columns + size_t(j) * kPanel;
      std::memcpy(line, rows + size_t(j) * stride + first, size_t(n) * 4);
      std::memset(line + n, 0, size_t(kPanel - n) * 4);
    }
    std::memset(out, 0, size_t(stride) * kPanel * 4);
    withVectors(n, [&](auto vectors) {
      constexpr int NV = decltype(vectors)::value;
      const F keep[NV] = {};
      panelValues<NV>(rows, stride, count, columns, keep, out);
    });
    for (int c = 0; c < width; c++)
      for (int p = 0; p < n; p++)
        sums[size_t(c) * width + first + p] += out[size_t(c) * kPanel + p];
  }
}

typedef double D __attribute__((vector_size(W * 4)));
constexpr int kDoubles = W / 2, kDoublePanel = kVectors * kDoubles;

// addProducts in double, for sums whose small eigenvalues count; sums hold the lower triangle only.
static inline void addProductsExactly(const float* rows, int count, int width, int stride,
                                      double* sums) {
  double columns[kTile * kDoublePanel] __attribute__((aligned(64)));
  for (int first = 0; first < width; first += kDoublePanel) {
    const int n = width - first < kDoublePanel ? width - first : kDoublePanel;
    for (int j = 0; j < count; j++)
      for (int p = 0; p < kDoublePanel; p++)
        columns[j * kDoublePanel + p] = p < n ? rows[size_t(j) * stride + first + p] : 0;
    for (int c = first / 4 * 4; c < width; c += 4) {
      D products[4][kVectors] = {};
      for (int j = 0; j < count; j++) {
        const D* line = reinterpret_cast<const D*>(columns + j * kDoublePanel);
        const float* x = rows + size_t(j) * stride + c;
        for (int u = 0; u < 4; u++)
          for (int v = 0; v < kVectors; v++) products[u][v] += double(x[u]) * line[v];
      }
      for (int u = 0; u < 4 && c + u < width; u++)
        for (int p = 0; p < n; p++)
          sums[size_t(c + u) * width + first + p] += products[u][p / kDoubles][p % kDoubles];
    }
  }
}

// Calls f(panel, lines, NV) with lines [count][kPanel] = rows × panelᵀ for every panel of a matrix
// of `height` rows; count ≤ kTile, and rows has room up to the next multiple of kUnroll.
template <class Function>
KV_INLINE void forEachProduct(const float* rows, int count, int stride, const float* panels,
                              int height, float* lines, const Function& f) {
  const int padded = roundUp(count, kUnroll);
  for (int p = 0; p < panelsOf(height); p++)
    withVectors(height - p * kPanel, [&](auto vectors) {
      panelScores<decltype(vectors)::value>(rows, stride, padded,
                                            panels + size_t(p) * stride * kPanel, lines);
      f(p, vectors);
    });
}

// out[j] = ‖M x_j‖² for rows [count][stride] and the panels of M [height].
static inline void squaresOf(const float* rows, int count, int stride, const float* panels,
                             int height, float* lines, float* out) {
  std::memset(out, 0, size_t(count) * 4);
  forEachProduct(rows, count, stride, panels, height, lines, [&](int, auto vectors) {
    for (int j = 0; j < count; j++) {
      F squares = {};
      for (int v = 0; v < decltype(vectors)::value; v++) {
        const F y = load(lines + size_t(j) * kPanel + v * W);
        squares += y * y;
      }
      out[j] += sum(squares);
    }
  });
}

}  // namespace kv::KV_ISA
