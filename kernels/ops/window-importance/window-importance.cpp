#include "window-importance.h"

#include <algorithm>

#include "pooling.h"

namespace kv {
namespace {

// The group's queries of a row, from the ring, oldest first: [numQueries, groupSize].
std::vector<const float*> queriesOf(const WindowCall& call, const ObservedRow& row) {
  const KvCache& cache = *call.rows.cache;
  const int32_t group = cache.numQueryHeads / cache.numKvHeads;
  const size_t width = size_t(cache.numQueryHeads) * cache.headDim;
  const float* ring =
      cache.windowQueries +
      (size_t(row.at.sequence) * cache.numLayers + row.at.layer) * cache.windowSize * width;
  const int32_t first = call.nextPositions[row.at.sequenceIndex] - row.numQueries;
  std::vector<const float*> queries;
  for (int32_t i = 0; i < row.numQueries; i++)
    for (int32_t member = 0; member < group; member++)
      queries.push_back(ring + size_t((first + i) % cache.windowSize) * width +
                        size_t(row.at.head * group + member) * cache.headDim);
  return queries;
}

}  // namespace

const char* checkWindowImportance(const WindowImportanceCall& call) {
  if (call.pool != Pool::none && (call.poolSize < 1 || call.poolSize % 2 == 0))
    return "poolSize must be odd and positive";
  if (call.groupReduce != GroupReduce::mean && call.groupReduce != GroupReduce::maximum)
    return "groupReduce must be 0 or 1";
  return checkWindow(call.window);
}

void windowImportance(const WindowImportanceCall& call, const ParallelFor& parallelFor) {
  const KvCache& cache = *call.window.rows.cache;
  parallelFor(countRows(call.window.rows), [&](size_t index) {
    const ObservedRow row = openRow(call.window, index);
    const std::vector<const float*> queries = queriesOf(call.window, row);
    std::vector<float> bySlot(row.length(), 0), means(row.eligible), copy;
    GroupQueries group;
    group.row = row.at.row;
    group.positions = row.bySlot.data();
    group.before = call.window.nextPositions[row.at.sequenceIndex] - row.numQueries;
    group.queries = queries.data();
    group.numQueries = row.numQueries, group.headDim = cache.headDim;
    group.groupSize = cache.numQueryHeads / cache.numKvHeads;
    group.maximum = call.groupReduce == GroupReduce::maximum;
    group.scale = call.window.scale;
    group.means = bySlot.data();
    weighGroup()(group);
    for (size_t j = 0; j < row.eligible; j++) means[j] = bySlot[row.slotOf(j)];
    pool(means.data(), row.eligible, call.pool, call.poolSize, copy);
    float* out = call.scores + row.at.begin;
    std::fill(out, out + row.length(), 0.f);
    for (size_t j = 0; j < row.eligible; j++) out[row.slotOf(j)] = means[j];
  });
}

}  // namespace kv
