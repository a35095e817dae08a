#include "attention-spread.h"

#include <algorithm>
#include <cmath>

namespace kv {

void varianceOverQueries(const ObservedRow& row, const float* weights, float* means,
                         float* variances) {
  const size_t length = row.length(), count = row.eligible;
  std::fill(means, means + count, 0.f);
  std::fill(variances, variances + count, 0.f);
  for (int32_t i = 0; i < row.numQueries; i++)
    for (size_t j = 0; j < count; j++) means[j] += weights[i * length + j];
  for (size_t j = 0; j < count; j++) means[j] /= float(row.numQueries);
  if (row.numQueries < 2) return;
  for (int32_t i = 0; i < row.numQueries; i++)
    for (size_t j = 0; j < count; j++) {
      const float deviation = weights[i * length + j] - means[j];
      variances[j] += deviation * deviation;
    }
  for (size_t j = 0; j < count; j++) variances[j] /= float(row.numQueries - 1);
}

void attentionSpread(const WindowCall& call, float* dispersion, float* shift,
                     const ParallelFor& parallelFor) {
  const KvCache& cache = *call.rows.cache;
  const size_t rows = countRows(call.rows), heads = cache.numKvHeads;
  const int32_t group = cache.numQueryHeads / cache.numKvHeads;
  std::vector<double> entropies(rows), moved(rows);
  parallelFor(rows, [&](size_t index) {
    const ObservedRow row = openRow(call, index);
    const size_t length = row.length();
    std::vector<float> weights, means(row.eligible), variances(row.eligible);
    for (int32_t member = 0; member < group; member++) {
      weighQueries(call, row, member, weights);
      for (int32_t i = 0; i < row.numQueries; i++) {
        float entropy = 0;
        for (size_t j = 0; j < row.eligible; j++) {
          const float weight = weights[i * length + j];
          entropy -= weight * std::log(weight + 1e-10f);
        }
        entropies[index] += entropy;
      }
      varianceOverQueries(row, weights.data(), means.data(), variances.data());
      for (float variance : variances) moved[index] += variance;
    }
  });
  for (size_t layer = 0; layer < rows / heads; layer++) {
    double entropy = 0, variance = 0;
    for (size_t head = 0; head < heads; head++) {
      entropy += entropies[layer * heads + head];
      variance += moved[layer * heads + head];
    }
    dispersion[layer] = float(entropy), shift[layer] = float(variance);
  }
}

}  // namespace kv
