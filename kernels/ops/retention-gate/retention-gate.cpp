#include "retention-gate.h"

namespace kv {

void retentionGate(const RetentionGateCall& call, const ParallelFor& parallelFor) {
  constexpr int32_t piece = 256;
  const size_t pieces = (size_t(call.numTokens) + piece - 1) / piece;
  parallelFor(pieces * call.heads, [&](size_t i) {
    const int32_t first = int32_t(i % pieces) * piece, left = call.numTokens - first;
    gateTokens()(call, int32_t(i / pieces), first, left < piece ? left : piece);
  });
}

}  // namespace kv
