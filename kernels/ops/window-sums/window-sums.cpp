#include "window-sums.h"

#include <algorithm>

namespace kv {

void windowSums(const WindowCall& call, float* out, const ParallelFor& parallelFor) {
  const int32_t group = call.rows.cache->numQueryHeads / call.rows.cache->numKvHeads;
  parallelFor(countRows(call.rows), [&](size_t index) {
    const ObservedRow row = openRow(call, index);
    float* own = out + row.at.begin * group;
    std::fill(own, own + row.length() * group, 0.f);
    for (int32_t member = 0; member < group; member++)
      addQueries(call, row, member, own + size_t(member) * row.length());
  });
}

}  // namespace kv
