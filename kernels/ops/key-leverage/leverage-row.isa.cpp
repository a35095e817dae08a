// Compiled once per instruction set: leverage of the keys of one row, in two passes over them.
#include <vector>

#include "cholesky.h"
#include "key-leverage.h"
#include "row-products.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {
namespace {

void unrotate(const LeverageRow& r, int32_t position, float* key) {
  const float* c = r.cos + size_t(position) * r.half;
  const float* s = r.sin + size_t(position) * r.half;
  for (int i = 0; i < r.half; i++) {
    const float x1 = key[i], x2 = key[i + r.half];
    key[i] = (x1 * c[i] + x2 * s[i]) * r.scale;
    key[i + r.half] = (x2 * c[i] - x1 * s[i]) * r.scale;
  }
}

// Keys of the tile's tokens that take part, before RoPE, less `shift`; returns how many.
int loadTile(const LeverageRow& r, int begin, int stride, const float* shift, float* keys,
             int32_t* slots) {
  const int count = r.row.length - begin < kTile ? r.row.length - begin : kTile;
  int32_t positions[kTile];
  loadKeys(r.row, begin, count, stride, keys);
  loadPositions(r.row, begin, count, positions);
  int kept = 0;
  for (int j = 0; j < count; j++) {
    if (positions[j] < r.first || positions[j] >= r.last) continue;
    float* key = keys + size_t(kept) * stride;
    if (kept != j) std::memcpy(key, keys + size_t(j) * stride, size_t(stride) * 4);
    if (r.cos) unrotate(r, positions[j], key);
    for (int c = 0; c < r.headDim; c++) key[c] -= shift[c];
    slots[kept++] = begin + j;
  }
  return kept;
}

// M = L⁻¹ Φᵀ with L Lᵀ = Φᵀ C Φ + ridge, so that a centred key's leverage is ‖M k‖²: [sketch][d];
// empty when there is no such L.
std::vector<double> whitening(const LeverageRow& r, const std::vector<double>& covariance) {
  const int d = r.headDim, s = r.sketch;
  std::vector<double> transposed(size_t(s) * d), half(size_t(s) * d), gram(size_t(s) * s);
  for (int c = 0; c < d; c++)
    for (int k = 0; k < s; k++) transposed[size_t(k) * d + c] = r.matrix[size_t(c) * s + k];
  for (int k = 0; k < s; k++)
    for (int a = 0; a < d; a++) {
      const double x = transposed[size_t(k) * d + a];
      for (int c = 0; c < d; c++) half[size_t(k) * d + c] += x * covariance[size_t(a) * d + c];
    }
  for (int k = 0; k < s; k++)
    for (int l = 0; l <= k; l++) {
      double dot = k == l ? r.ridge : 0;
      for (int c = 0; c < d; c++) dot += half[size_t(k) * d + c] * transposed[size_t(l) * d + c];
      gram[size_t(k) * s + l] = dot;
    }
  if (!choleskyInPlace(gram.data(), s)) return {};
  solveLower(gram.data(), s, transposed.data(), d);
  return transposed;
}

bool leverages(const LeverageRow& r) {
  const int d = r.headDim, stride = roundUp(d, kUnroll), length = r.row.length;
  const int panels = panelsOf(r.sketch);
  float* keys = scratchFloats(size_t(kTile) * stride + size_t(panels) * stride * kPanel +
                              size_t(kTile) * (kPanel + 1));
  float* packed = keys + size_t(kTile) * stride;
  float* lines = packed + size_t(panels) * stride * kPanel;
  float* squares = lines + size_t(kTile) * kPanel;
  int32_t slots[kTile];

  // Sums about the first tile's mean, so that nothing cancels when they are centred.
  std::vector<float> shift(d, 0.f);
  std::vector<double> sums(d), covariance(size_t(d) * d);
  size_t taken = 0;
  for (int begin = 0; begin < length; begin += kTile) {
    int count = loadTile(r, begin, stride, shift.data(), keys, slots);
    if (count == 0) continue;
    if (taken == 0) {
      for (int j = 0; j < count; j++)
        for (int c = 0; c < d; c++) shift[c] += keys[size_t(j) * stride + c] / count;
      count = loadTile(r, begin, stride, shift.data(), keys, slots);
    }
    taken += count;
    for (int j = 0; j < count; j++)
      for (int c = 0; c < d; c++) sums[c] += keys[size_t(j) * stride + c];
    addProductsExactly(keys, count, d, stride, covariance.data());
  }
  for (int j = 0; j < length; j++) r.scores[j] = __builtin_inff();
  if (taken == 0) return true;
  for (int a = 0; a < d; a++)
    for (int c = 0; c <= a; c++) {
      const double centred = covariance[size_t(a) * d + c] - sums[a] * sums[c] / taken;
      covariance[size_t(a) * d + c] = covariance[size_t(c) * d + a] = centred;
    }
  for (int c = 0; c < d; c++) shift[c] += float(sums[c] / taken);

  const std::vector<double> matrix = whitening(r, covariance);
  if (matrix.empty()) return false;
  packPanels(matrix.data(), r.sketch, d, stride, packed);
  for (int begin = 0; begin < length; begin += kTile) {
    const int count = loadTile(r, begin, stride, shift.data(), keys, slots);
    squaresOf(keys, count, stride, packed, r.sketch, lines, squares);
    for (int j = 0; j < count; j++) r.scores[slots[j]] = squares[j];
  }
  return true;
}

}  // namespace

extern const LeverageOfRow leverageOfRow = leverages;

}  // namespace kv::KV_ISA
