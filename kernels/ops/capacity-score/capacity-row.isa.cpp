// Compiled once per instruction set: weighted leverage of the values of one row.
#include <cmath>
#include <vector>

#include "capacity-score.h"
#include "cholesky.h"
#include "row-products.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {
namespace {

float dotOf(const float* a, const float* b, int count) {
  float total = 0;
  for (int c = 0; c < count; c++) total += a[c] * b[c];
  return total;
}

// exp(τ (cosine − largest cosine)) of every key with every anchor, [group][length]; 0 for sinks.
std::vector<float> relevance(const CapacityRow& r, const std::vector<int32_t>& positions,
                             int stride, float* keys) {
  const int d = r.headDim, length = r.row.length;
  std::vector<float> weights(size_t(r.group) * length), sizes(r.group), largest(r.group, -1.f);
  for (int g = 0; g < r.group; g++) {
    const float* anchor = r.anchors + size_t(g) * d;
    sizes[g] = std::fmax(std::sqrt(dotOf(anchor, anchor, d)), 1e-12f);
  }
  for (int begin = 0; begin < length; begin += kTile) {
    const int count = length - begin < kTile ? length - begin : kTile;
    loadKeys(r.row, begin, count, stride, keys);
    for (int j = 0; j < count; j++) {
      if (positions[begin + j] < r.sinks) continue;
      const float* key = keys + size_t(j) * stride;
      const float size = std::fmax(std::sqrt(dotOf(key, key, d)), 1e-12f);
      for (int g = 0; g < r.group; g++) {
        const float cosine = dotOf(key, r.anchors + size_t(g) * d, d) / (size * sizes[g]);
        weights[size_t(g) * length + begin + j] = cosine;
        largest[g] = std::fmax(largest[g], cosine);
      }
    }
  }
  for (int g = 0; g < r.group; g++)
    for (int j = 0; j < length; j++) {
      float& w = weights[size_t(g) * length + j];
      w = positions[j] < r.sinks ? 0 : std::exp(r.tau * (w - largest[g]));
    }
  return weights;
}

bool capacities(const CapacityRow& r) {
  const int d = r.headDim, stride = roundUp(d, kUnroll), length = r.row.length;
  const int panels = panelsOf(d);
  float* rows = scratchFloats(size_t(kTile) * stride + productScratch(stride) +
                              size_t(panels) * stride * kPanel + size_t(kTile) * (kPanel + 1));
  float* products = rows + size_t(kTile) * stride;
  float* packed = products + productScratch(stride);
  float* lines = packed + size_t(panels) * stride * kPanel;
  float* squares = lines + size_t(kTile) * kPanel;

  std::vector<int32_t> positions(length);
  loadPositions(r.row, 0, length, positions.data());
  const std::vector<float> weights = relevance(r, positions, stride, rows);
  for (int j = 0; j < length; j++) r.scores[j] = positions[j] < r.sinks ? __builtin_inff() : 0.f;
  std::vector<double> matrix(size_t(d) * d), inverse(size_t(d) * d);
  for (int g = 0; g < r.group; g++) {
    const float* w = weights.data() + size_t(g) * length;
    std::fill(matrix.begin(), matrix.end(), 0.);
    for (int c = 0; c < d; c++) matrix[size_t(c) * d + c] = 1;
    for (int begin = 0; begin < length; begin += kTile) {
      const int count = length - begin < kTile ? length - begin : kTile;
      loadValues(r.row, begin, count, stride, rows);
      for (int j = 0; j < count; j++) {
        const bool sink = positions[begin + j] < r.sinks;
        const float root = sink ? 0 : std::sqrt(w[begin + j] + r.epsilon);
        for (int c = 0; c < d; c++) rows[size_t(j) * stride + c] *= root;
      }
      addProducts(rows, count, d, stride, products, matrix.data());
    }
    std::fill(inverse.begin(), inverse.end(), 0.);
    for (int c = 0; c < d; c++) inverse[size_t(c) * d + c] = 1;
    if (!choleskyInPlace(matrix.data(), d)) return false;
    solveLower(matrix.data(), d, inverse.data(), d);
    packPanels(inverse.data(), d, d, stride, packed);
    for (int begin = 0; begin < length; begin += kTile) {
      const int count = length - begin < kTile ? length - begin : kTile;
      loadValues(r.row, begin, count, stride, rows);
      squaresOf(rows, count, stride, packed, d, lines, squares);
      for (int j = 0; j < count; j++)
        r.scores[begin + j] += w[begin + j] * squares[j] / float(r.group);
    }
  }
  return true;
}

}  // namespace

extern const CapacityOfRow capacityOfRow = capacities;

}  // namespace kv::KV_ISA
