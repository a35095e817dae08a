#include "rope.h"

#include <algorithm>

namespace kv {
namespace {

void rotateToken(const RopeCall& call, size_t token) {
  const float* cos = call.cos + token * call.half;
  const float* sin = call.sin + token * call.half;
  for (size_t head = 0; head < call.numHeads; head++) {
    const size_t offset = (token * call.numHeads + head) * call.headDim;
    const float *x1 = call.x + offset, *x2 = x1 + call.half;
    float *y1 = call.y + offset, *y2 = y1 + call.half;
    for (size_t i = 0; i < call.half; i++) {
      const float a = x1[i], b = x2[i];
      y1[i] = a * cos[i] - b * sin[i];
      y2[i] = b * cos[i] + a * sin[i];
    }
    if (call.x != call.y) std::copy(x1 + 2 * call.half, x1 + call.headDim, y1 + 2 * call.half);
  }
}

}  // namespace

void rope(const RopeCall& call, const ParallelFor& parallelFor) {
  constexpr size_t kTokens = 64;  // per piece of work
  parallelFor((call.numTokens + kTokens - 1) / kTokens, [&](size_t piece) {
    const size_t end = std::min(call.numTokens, (piece + 1) * kTokens);
    for (size_t token = piece * kTokens; token < end; token++) rotateToken(call, token);
  });
}

}  // namespace kv
