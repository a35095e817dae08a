#include "lag-spread.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace kv {
namespace {

// Slots by ascending position; empty when they already are.
std::vector<int32_t> positionOrder(const Row& row) {
  std::vector<int32_t> positions(row.length), order;
  for (int32_t j = 0; j < row.length; j++)
    positions[j] = row.arena->positions[physicalSlot(row, j)];
  if (std::is_sorted(positions.begin(), positions.end())) return order;
  order.resize(row.length);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return positions[a] < positions[b]; });
  return order;
}

// Replaces values by their ranks / count, equal ones in order.
void toRanks(double* values, int32_t count) {
  std::vector<int32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return values[a] < values[b]; });
  for (int32_t rank = 0; rank < count; rank++) values[order[rank]] = double(rank) / count;
}

void scoreRow(const LagSpreadCall& call, const BatchRow& at, SpreadRow kernel) {
  const int32_t length = at.row.length, sinks = call.sinks, lag = call.lag;
  const std::vector<int32_t> order = positionOrder(at.row);
  const int32_t whole = length > sinks ? (length - sinks) / lag : 0;
  const int32_t count = whole < 2 ? 0 : whole - 1;
  std::vector<double> spread(size_t(count) * lag);
  if (count > 0)
    kernel(at.row, {order.empty() ? nullptr : order.data(), sinks, lag, count}, spread.data());
  for (int32_t part = 0; part < count && !call.crossScoring; part++)
    toRanks(spread.data() + size_t(part) * lag, lag);
  const double behind = std::max(1, length - sinks);
  for (int32_t j = 0; j < length; j++) {
    const int32_t scored = j - sinks;
    const double score = j < sinks                     ? 2
                         : scored < int32_t(spread.size()) ? spread[scored]
                                                       : (count > 0) + scored / behind;
    call.scores[at.begin + (order.empty() ? j : order[j])] = float(score);
  }
}

}  // namespace

const char* checkLagSpread(const LagSpreadCall& call) {
  if (call.sinks < 0) return "sinks is negative";
  return call.lag < 1 ? "lag must be at least 1" : nullptr;
}

void lagSpread(const LagSpreadCall& call, const ParallelFor& parallelFor) {
  const SpreadRow kernel = spreadRow();
  parallelFor(countRows(call.rows), [&](size_t i) { scoreRow(call, rowAt(call.rows, i), kernel); });
}

}  // namespace kv
