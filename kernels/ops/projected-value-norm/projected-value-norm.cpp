#include "projected-value-norm.h"

#include <algorithm>
#include <vector>

namespace kv {
namespace {

// Slots of one piece of work.
constexpr int32_t kChunk = 512;

}  // namespace

void projectedValueNorm(const ProjectedValueNormCall& call, const ParallelFor& parallelFor) {
  const KvCache& cache = *call.rows.cache;
  const int32_t group = cache.numQueryHeads / cache.numKvHeads;
  struct Piece {
    BatchRow at;
    int32_t begin;
  };
  std::vector<Piece> pieces;
  for (size_t i = 0; i < countRows(call.rows); i++) {
    const BatchRow at = rowAt(call.rows, i);
    if (at.layer != call.layer) continue;
    for (int32_t begin = 0; begin < at.row.length; begin += kChunk) pieces.push_back({at, begin});
  }
  parallelFor(pieces.size(), [&](size_t i) {
    const auto& [at, begin] = pieces[i];
    Projection p;
    p.row = at.row, p.begin = begin;
    p.count = std::min(kChunk, at.row.length - begin);
    p.headDim = cache.headDim, p.hiddenSize = call.hiddenSize;
    p.stride = cache.numQueryHeads * cache.headDim;
    p.factor = 1.f / float(group);
    p.sums = call.norms + at.begin + begin;
    std::fill(p.sums, p.sums + p.count, 0.f);
    for (int32_t member = 0; member < group; member++) {
      p.weight = call.weight + size_t(at.head * group + member) * cache.headDim;
      project()(p);
    }
  });
}

}  // namespace kv
