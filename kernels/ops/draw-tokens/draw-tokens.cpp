#include "draw-tokens.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace kv {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kLn2 = 0.693147180559945309417;
constexpr int kSteps = 256;  // of the table of powers, between 1/2 and 1

// exp(x) for x <= 0 with a relative error below 1e-12: a power of two from a table, times the first
// terms of the series for what is left.
double expNegative(double x) {
  static const std::array<double, kSteps> powers = [] {
    std::array<double, kSteps> table{};
    for (int i = 0; i < kSteps; i++) table[i] = std::exp2(-double(i) / kSteps);
    return table;
  }();
  if (!(x > -708)) return std::exp(x);
  const int32_t step = int32_t(-x * (kSteps / kLn2));
  const double rest = x + step * (kLn2 / kSteps);
  const uint64_t bits = uint64_t(1023 - step / kSteps) << 52;
  double whole;
  std::memcpy(&whole, &bits, sizeof whole);
  const double series = 1 + rest * (1 + rest * (0.5 + rest * (1 / 6. + rest * (1 / 24.))));
  return powers[step % kSteps] * whole * series;
}

// Largest of `count` logits; NaN where one of them is.
float largest(const float* logits, size_t count) {
  constexpr size_t kLanes = 16;
  float highest[kLanes];
  int32_t numNan[kLanes] = {};
  std::fill_n(highest, kLanes, -kInfinity);
  const auto take = [&](size_t lane, float logit) {
    highest[lane] = logit > highest[lane] ? logit : highest[lane];
    numNan[lane] += logit != logit;
  };
  size_t id = 0;
  for (; id + kLanes <= count; id += kLanes)
    for (size_t lane = 0; lane < kLanes; lane++) take(lane, logits[id + lane]);
  for (; id < count; id++) take(0, logits[id]);
  float best = -kInfinity;
  int32_t nan = 0;
  for (size_t lane = 0; lane < kLanes; lane++) {
    best = highest[lane] > best ? highest[lane] : best;
    nan += numNan[lane];
  }
  return nan ? std::numeric_limits<float>::quiet_NaN() : best;
}

int32_t drawToken(const float* logits, size_t count, double temperature, double random) {
  const float best = largest(logits, count);
  if (!std::isfinite(best)) return -1;
  if (temperature == 0) {
    int32_t id = 0;
    while (logits[id] != best) id++;
    return id;
  }
  static thread_local std::vector<double> weights;
  weights.resize(count);
  const float highest = float(best / temperature);
  double total = 0;
  for (size_t id = 0; id < count; id++) {
    weights[id] = expNegative(double(float(logits[id] / temperature)) - highest);
    total += weights[id];
  }
  double left = random * total;
  for (size_t id = 0; id < count; id++) {
    left -= weights[id];
    if (left < 0) return int32_t(id);
  }
  // Rounding may leave a last crumb, which falls to the last token that has any weight.
  int32_t last = int32_t(count) - 1;
  while (last >= 0 && !(weights[last] > 0)) last--;
  return last;
}

}  // namespace

void drawTokens(const DrawTokensCall& call, const ParallelFor& parallelFor) {
  parallelFor(call.numRows, [&](size_t row) {
    double settings[2];
    std::memcpy(settings, call.settings + 4 * row, sizeof settings);
    call.tokens[row] =
        drawToken(call.logits + row * call.vocabSize, call.vocabSize, settings[0], settings[1]);
  });
}

}  // namespace kv
