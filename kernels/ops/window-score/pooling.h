#pragma once
#include <algorithm>
#include <vector>

#include "window-score.h"

namespace kv {

// Pools values [0, count) in place, stride 1: the average divides by `size` also at the ends, the
// maximum ignores what lies outside. `copy` is scratch.
static inline void pool(float* values, size_t count, Pool kind, int32_t size,
                        std::vector<float>& copy) {
  if (kind == Pool::none || size == 1) return;
  copy.assign(values, values + count);
  const size_t reach = (size - 1) / 2;
  for (size_t j = 0; j < count; j++) {
    const size_t begin = j > reach ? j - reach : 0, end = std::min(count, j + reach + 1);
    float result = copy[begin];
    for (size_t i = begin + 1; i < end; i++)
      result = kind == Pool::average ? result + copy[i] : std::max(result, copy[i]);
    values[j] = kind == Pool::average ? result / float(size) : result;
  }
}

}  // namespace kv
