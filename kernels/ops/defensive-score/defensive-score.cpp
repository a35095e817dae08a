#include "defensive-score.h"

#include <algorithm>
#include <numeric>

#include "pooling.h"

namespace kv {
namespace {

struct DefendedRow {
  ObservedRow observed;
  std::vector<float> worst;  // [eligible]: largest pooled attention, not below its mean
  std::vector<float> mean;   // [eligible]: over queries and group
  double recent;             // attention to the last tokens before the window
};

double total(const float* values, size_t count) {
  return std::accumulate(values, values + count, 0.0);
}

DefendedRow defend(const DefensiveScoreCall& call, size_t index) {
  const KvCache& cache = *call.window.rows.cache;
  const int32_t group = cache.numQueryHeads / cache.numKvHeads;
  DefendedRow row{openRow(call.window, index), {}, {}, 0};
  const size_t count = row.observed.eligible, length = row.observed.length();
  const size_t last = count - std::min<size_t>(count, call.window.window);
  row.worst.assign(count, 0);
  row.mean.assign(count, 0);
  std::vector<float> weights, pooled;
  const float part = 1.f / (group * row.observed.numQueries);
  for (int32_t member = 0; member < group; member++) {
    weighQueries(call.window, row.observed, member, weights);
    for (int32_t i = 0; i < row.observed.numQueries; i++) {
      float* own = weights.data() + size_t(i) * length;
      for (size_t j = 0; j < count; j++) row.mean[j] += own[j] * part;
      row.recent += total(own + last, count - last);
      const double before = total(own, count);
      pool(own, count, call.averages ? Pool::average : Pool::maximum, call.poolSize, pooled);
      const double after = total(own, count);
      const float factor = after > 0 ? float(before / after) : 0;
      for (size_t j = 0; j < count; j++) row.worst[j] = std::max(row.worst[j], own[j] * factor);
    }
  }
  const float floor = count ? float(total(row.worst.data(), count) / count) : 0;
  for (float& value : row.worst) value = std::max(value, floor);
  return row;
}

// Multiplies by the token's share of the norms that the layer's heads have at its position; returns
// the largest result.
float shareNorms(const DefensiveScoreCall& call, std::vector<DefendedRow>& layer) {
  float most = 0;
  std::vector<size_t> at(layer.size(), 0);
  for (;;) {
    int32_t position = INT32_MAX;
    for (size_t h = 0; h < layer.size(); h++)
      if (at[h] < layer[h].worst.size())
        position = std::min(position, layer[h].observed.positions[at[h]]);
    if (position == INT32_MAX) return most;
    const auto here = [&](size_t h) {
      return at[h] < layer[h].worst.size() && layer[h].observed.positions[at[h]] == position;
    };
    const auto normOf = [&](size_t h) {
      const ObservedRow& row = layer[h].observed;
      return call.norms[row.at.begin + row.slotOf(at[h])];
    };
    double sum = 0;
    for (size_t h = 0; h < layer.size(); h++)
      if (here(h)) sum += normOf(h);
    for (size_t h = 0; h < layer.size(); h++)
      if (here(h)) {
        float& worst = layer[h].worst[at[h]];
        worst *= sum > 0 ? float(normOf(h) / sum) : 0.f;
        most = std::max(most, worst);
        at[h]++;
      }
  }
}

// Gives `most` to the tokens before the one that brings the sorted mean attention to `mass`.
void forceCritical(DefendedRow& row, double mass, size_t limit, float most) {
  const double all = total(row.mean.data(), row.mean.size());
  std::vector<int32_t> order(row.mean.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return row.mean[a] != row.mean[b] ? row.mean[a] > row.mean[b] : a < b;
  });
  double carried = 0;
  size_t count = 0;
  for (; count < order.size(); count++) {
    carried += row.mean[order[count]] / all;
    if (carried >= mass) break;
  }
  // Rounding can leave the whole row below a mass of 1: nothing is forced then.
  if (count == order.size()) return;
  for (size_t i = 0; i < std::min(count, limit); i++) row.worst[order[i]] = most;
}

void finishLayer(const DefensiveScoreCall& call, std::vector<DefendedRow>& layer) {
  const ObservedRow& first = layer[0].observed;
  double recent = 0;
  for (const DefendedRow& row : layer) recent += row.recent;
  const double queries = double(call.window.rows.cache->numQueryHeads) * first.numQueries;
  const double bias = call.measuresBias ? recent / queries : call.windowBias;
  const float most = shareNorms(call, layer);
  const size_t limit = size_t(call.firstStageLimits[first.at.sequenceIndex]);
  for (DefendedRow& row : layer) {
    forceCritical(row, call.criticalMass - bias, limit, most);
    float* out = call.scores + row.observed.at.begin;
    for (size_t j = 0; j < row.observed.length(); j++)
      out[row.observed.slotOf(j)] = j < row.worst.size() ? row.worst[j] : most;
  }
}

}  // namespace

const char* checkDefensiveScore(const DefensiveScoreCall& call) {
  if (call.poolSize < 1 || call.poolSize % 2 == 0) return "poolSize must be odd and positive";
  for (int32_t s = 0; s < call.window.rows.numSequences; s++)
    if (call.firstStageLimits[s] < 0) return "a limit of the first stage is negative";
  return checkWindow(call.window);
}

void defensiveScore(const DefensiveScoreCall& call, const ParallelFor& parallelFor) {
  const size_t rows = countRows(call.window.rows), heads = call.window.rows.cache->numKvHeads;
  parallelFor(rows / heads, [&](size_t index) {
    std::vector<DefendedRow> layer;
    for (size_t head = 0; head < heads; head++) layer.push_back(defend(call, index * heads + head));
    finishLayer(call, layer);
  });
}

}  // namespace kv
