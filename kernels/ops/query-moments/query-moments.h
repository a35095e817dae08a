#pragma once
#include <cstdint>

#include "isa.h"
#include "parallel.h"

namespace kv {

// Takes rows into running means and sums of squared deviations, per head; see query-moments.ts.
struct MomentsCall {
  const float* rows;  // [numRows, heads × width]
  int32_t numRows, heads, width, before;
  float *means, *deviations;  // [heads, width (, width)], updated; deviations may be nullptr
};

using AddMoments = void (*)(const MomentsCall& call, int32_t head);
KV_DECLARE_VARIANTS(AddMoments, addMoments)

static inline void queryMoments(const MomentsCall& call, const ParallelFor& parallelFor) {
  if (call.numRows > 0)
    parallelFor(call.heads, [&](size_t head) { addMoments()(call, int32_t(head)); });
}

}  // namespace kv
