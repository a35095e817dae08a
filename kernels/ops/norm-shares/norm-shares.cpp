#include "norm-shares.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace kv {
namespace {

void share(std::vector<float>& norms, const std::vector<int32_t>& order, int32_t window) {
  if (window == 0) return;
  const size_t length = norms.size();
  for (size_t from = 0; from < length; from += window) {
    const size_t to = std::min(length, from + window);
    double total = 0;
    for (size_t j = from; j < to; j++) total += norms[order[j]];
    for (size_t j = from; j < to; j++)
      norms[order[j]] = total > 0 ? float(norms[order[j]] / total) : 0;
  }
}

}  // namespace

const char* checkNormShares(const NormSharesCall& call) {
  if (call.rule < ShareRule::product || call.rule > ShareRule::value)
    return "leverage must be 0, 1, 2 or 3";
  return call.localWindow < 0 ? "localWindow is negative" : nullptr;
}

void normShares(const NormSharesCall& call, const ParallelFor& parallelFor) {
  const bool keyed = call.rule != ShareRule::value, valued = call.rule != ShareRule::key;
  parallelFor(countRows(call.rows), [&](size_t i) {
    const BatchRow at = rowAt(call.rows, i);
    const size_t length = at.row.length;
    std::vector<int32_t> positions(length), order(length);
    for (size_t j = 0; j < length; j++)
      positions[j] = at.row.arena->positions[physicalSlot(at.row, int32_t(j))];
    std::iota(order.begin(), order.end(), 0);
    if (!std::is_sorted(positions.begin(), positions.end()))
      std::sort(order.begin(), order.end(),
                [&](int32_t a, int32_t b) { return positions[a] < positions[b]; });
    std::vector<float> keys(keyed ? length : 0), values(valued ? length : 0);
    squaresOfRow()(at.row, keyed ? keys.data() : nullptr, valued ? values.data() : nullptr);
    share(keys, order, call.localWindow);
    share(values, order, call.localWindow);
    float* scores = call.scores + at.begin;
    double total = 0;
    for (size_t j = 0; j < length; j++) {
      scores[j] = call.rule == ShareRule::product   ? keys[j] * values[j]
                  : call.rule == ShareRule::average ? (keys[j] + values[j]) / 2
                  : keyed                           ? keys[j]
                                                    : values[j];
      total += scores[j];
    }
    const double factor = total > 0 ? 1 / total : 0;
    for (size_t j = 0; j < length; j++)
      scores[j] = positions[j] < call.sinks ? INFINITY : float(scores[j] * factor);
  });
}

}  // namespace kv
