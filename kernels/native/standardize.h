// Subtracts the mean and divides by the standard deviation of a sample, at least 1e-6, in place.
// Infinite entries take no part and stay.
#pragma once
#include <cmath>
#include <cstddef>

namespace kv {

static inline void standardize(float* values, size_t count) {
  double total = 0, squares = 0;
  size_t finite = 0;
  for (size_t i = 0; i < count; i++)
    if (std::isfinite(values[i])) total += values[i], finite++;
  if (finite == 0) return;
  const double mean = total / finite;
  for (size_t i = 0; i < count; i++)
    if (std::isfinite(values[i])) squares += (values[i] - mean) * (values[i] - mean);
  const double deviation = std::sqrt(squares / (finite > 1 ? finite - 1 : 1));
  const double factor = 1 / (deviation > 1e-6 ? deviation : 1e-6);
  for (size_t i = 0; i < count; i++)
    if (std::isfinite(values[i])) values[i] = float((values[i] - mean) * factor);
}

}  // namespace kv
