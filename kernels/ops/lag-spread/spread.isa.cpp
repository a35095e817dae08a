// Compiled once per instruction set: how far tokens spread against the range of those behind them.
// In double precision, because ranks are made of the results.
#include <cmath>

#include "lag-spread.h"

#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {

// Range of every channel over `count` tokens: its least value, and 1 / range or 0.
static void rangeOf(const float* const* tokens, int count, int width, double* least,
                    double* scale) {
  for (int c = 0; c < width; c++) least[c] = scale[c] = tokens[0][c];
  for (int j = 1; j < count; j++)
    for (int c = 0; c < width; c++) {
      const double x = tokens[j][c];
      least[c] = x < least[c] ? x : least[c];
      scale[c] = x > scale[c] ? x : scale[c];
    }
  for (int c = 0; c < width; c++) scale[c] = scale[c] > least[c] ? 1 / (scale[c] - least[c]) : 0;
}

// Standard deviation over the normalised channels of a token.
static double deviation(const float* token, int width, const double* least, const double* scale) {
  double sums[4] = {}, squares[4] = {};
  for (int c = 0; c < width; c++) {
    const double x = (token[c] - least[c]) * scale[c];
    sums[c & 3] += x;
    squares[c & 3] += x * x;
  }
  const double sum = sums[0] + sums[1] + sums[2] + sums[3];
  const double square = squares[0] + squares[1] + squares[2] + squares[3];
  const double variance = (square - sum * (sum / width)) / (width > 1 ? width - 1 : 1);
  return variance > 0 ? std::sqrt(variance) : 0;
}

// Adds half the softmax of `count` deviations to out.
static void addSoftmax(double* deviations, int count, double* out) {
  double most = deviations[0], total = 0;
  for (int j = 1; j < count; j++) most = deviations[j] > most ? deviations[j] : most;
  for (int j = 0; j < count; j++) total += deviations[j] = std::exp(deviations[j] - most);
  for (int j = 0; j < count; j++) out[j] += deviations[j] / total / 2;
}

static void spreadOfRow(const Row& row, const Partitions& partitions, double* spread) {
  const KvArena& arena = *row.arena;
  const int width = arena.keyWidth > arena.valueWidth ? arena.keyWidth : arena.valueWidth;
  const int lag = partitions.lag;
  // Pointers to a row's tokens in order, numbers of two channel vectors and of a partition, entries.
  const size_t doubles = size_t(row.length) + 2 * width + lag;
  float* memory = scratchFloats(2 * doubles + size_t(row.length) * width);
  const float** tokens = reinterpret_cast<const float**>(memory);
  double* least = reinterpret_cast<double*>(memory) + row.length;
  double *scale = least + width, *deviations = scale + width;
  float* entries = memory + 2 * doubles;
  for (int side = 0; side < 2; side++) {
    const int own = side == 0 ? arena.keyWidth : arena.valueWidth;
    if (side == 0)
      loadKeys(row, 0, row.length, own, entries);
    else
      loadValues(row, 0, row.length, own, entries);
    for (int j = 0; j < row.length; j++)
      tokens[j] = entries + size_t(partitions.order ? partitions.order[j] : j) * own;
    for (int part = 0; part < partitions.count; part++) {
      const float** first = tokens + partitions.first + part * lag;
      rangeOf(first + lag, lag, own, least, scale);
      for (int j = 0; j < lag; j++) deviations[j] = deviation(first[j], own, least, scale);
      addSoftmax(deviations, lag, spread + size_t(part) * lag);
    }
  }
}

extern const SpreadRow spreadRow = spreadOfRow;

}  // namespace kv::KV_ISA
