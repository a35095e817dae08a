#include "key-redundancy.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "half.h"

namespace kv {
namespace {

// Keys of one row, by position, on their way to being scored.
struct RowKeys {
  BatchRow at;
  std::vector<int32_t> order;  // order[j] = slot of the j-th token
  std::vector<float> units;
  std::vector<int32_t> pardoned;
};

float numberAt(const Row& row, int32_t slot, int32_t channel) {
  const uint8_t* key = keyOf(row, slot);
  return row.arena->keyDtype == kF32
             ? reinterpret_cast<const float*>(key)[channel]
             : halfToFloat(reinterpret_cast<const uint16_t*>(key)[channel]);
}

void loadUnits(const KvCache& cache, RowKeys& keys) {
  const Row& row = keys.at.row;
  const size_t d = cache.headDim, length = row.length;
  const size_t padded = (length + kRedundancyTile - 1) / kRedundancyTile * kRedundancyTile;
  keys.order.resize(length);
  std::iota(keys.order.begin(), keys.order.end(), 0);
  const auto positionOf = [&](int32_t slot) {
    return row.arena->positions[physicalSlot(row, slot)];
  };
  std::sort(keys.order.begin(), keys.order.end(),
            [&](int32_t a, int32_t b) { return positionOf(a) < positionOf(b); });
  keys.units.assign(padded * d, 0);
  keys.pardoned.assign(length, 0);
  for (size_t j = 0; j < length; j++) {
    double squares = 0;
    float* unit = keys.units.data() + j * d;
    for (size_t c = 0; c < d; c++) {
      unit[c] = numberAt(row, keys.order[j], int32_t(c));
      squares += double(unit[c]) * unit[c];
    }
    const float inverse = squares > 0 ? float(1 / std::sqrt(squares)) : 0;
    for (size_t c = 0; c < d; c++) unit[c] *= inverse;
  }
}

double dot(const float* a, const float* b, size_t d) {
  double sum = 0;
  for (size_t c = 0; c < d; c++) sum += double(a[c]) * b[c];
  return sum;
}

// Sums of all cosines come from the sum of all unit keys, less what is pardoned.
void scoreRow(const KvCache& cache, const RowKeys& keys, float* scores) {
  const size_t d = cache.headDim, length = keys.order.size();
  std::vector<double> total(d, 0), sums(length);
  const auto unit = [&](size_t j) { return keys.units.data() + j * d; };
  for (size_t j = 0; j < length; j++)
    for (size_t c = 0; c < d; c++) total[c] += unit(j)[c];
  for (size_t j = 0; j < length; j++) {
    sums[j] = -dot(unit(j), unit(j), d);
    for (size_t c = 0; c < d; c++) sums[j] += total[c] * unit(j)[c];
  }
  for (size_t i = 0; i < length; i++) {
    const size_t j = keys.pardoned[i];
    if (j != i) sums[j] -= dot(unit(i), unit(j), d);
  }
  const double highest = *std::max_element(sums.begin(), sums.end());
  double norm = 0;
  for (double& x : sums) norm += x = std::exp((x - highest) / double(length));
  for (size_t j = 0; j < length; j++)
    scores[keys.at.begin + keys.order[j]] = float(sums[j] / norm);
}

}  // namespace

void keyRedundancy(const BatchRows& rows, float threshold, float* scores,
                   const ParallelFor& parallelFor) {
  const KvCache& cache = *rows.cache;
  parallelFor(countRows(rows), [&](size_t index) {
    RowKeys keys{rowAt(rows, index), {}, {}, {}};
    if (keys.at.row.length == 0) return;
    loadUnits(cache, keys);
    const int32_t length = keys.at.row.length;
    findPardoned()({keys.units.data(), length, cache.headDim, threshold, keys.pardoned.data()}, 0,
                   length);
    scoreRow(cache, keys, scores);
  });
}

}  // namespace kv
