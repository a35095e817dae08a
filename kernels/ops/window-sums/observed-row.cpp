#include "observed-row.h"

#include <algorithm>
#include <numeric>

#include "window-score.h"

namespace kv {
namespace {

Observation observation(const WindowCall& call, const ObservedRow& row, int32_t member,
                        int32_t done) {
  const KvCache& cache = *call.rows.cache;
  const size_t width = size_t(cache.numQueryHeads) * cache.headDim;
  const int32_t head = row.at.head * (cache.numQueryHeads / cache.numKvHeads) + member;
  const float* ring =
      cache.windowQueries +
      (size_t(row.at.sequence) * cache.numLayers + row.at.layer) * cache.windowSize * width +
      size_t(head) * cache.headDim;
  const int32_t first = call.nextPositions[row.at.sequenceIndex] - row.numQueries + done;
  Observation o;
  o.row = row.at.row;
  o.keyPositions = row.bySlot.data();
  o.numQueries = std::min(kMaxObserved, row.numQueries - done);
  o.headDim = cache.headDim, o.power = 1, o.buffer = 0, o.scale = call.scale;
  for (int32_t i = 0; i < o.numQueries; i++) {
    o.queryPositions[i] = first + i;
    o.queries[i] = ring + (first + i) % cache.windowSize * width;
  }
  return o;
}

}  // namespace

const char* checkWindow(const WindowCall& call) {
  const KvCache& cache = *call.rows.cache;
  if (call.window < 1 || call.window > cache.windowSize || !cache.windowQueries)
    return "the cache keeps fewer queries than the window observes";
  for (int32_t s = 0; s < call.rows.numSequences; s++)
    if (call.windowLengths[s] < 1 || call.windowLengths[s] > cache.windowSize ||
        call.nextPositions[s] < std::min(call.window, call.windowLengths[s]))
      return "windowLengths and nextPositions do not fit the ring of queries";
  return nullptr;
}

ObservedRow openRow(const WindowCall& call, size_t index) {
  ObservedRow row{rowAt(call.rows, index), {}, {}, {}, 0, 0};
  const size_t length = row.at.row.length;
  row.bySlot.resize(length);
  for (size_t j = 0; j < length; j++)
    row.bySlot[j] = row.at.row.arena->positions[physicalSlot(row.at.row, int32_t(j))];
  row.positions = row.bySlot;
  if (!std::is_sorted(row.bySlot.begin(), row.bySlot.end())) {
    row.order.resize(length);
    std::iota(row.order.begin(), row.order.end(), 0);
    std::sort(row.order.begin(), row.order.end(),
              [&](int32_t a, int32_t b) { return row.bySlot[a] < row.bySlot[b]; });
    for (size_t j = 0; j < length; j++) row.positions[j] = row.bySlot[row.order[j]];
  }
  row.numQueries = std::min(call.window, call.windowLengths[row.at.sequenceIndex]);
  const int32_t first = call.nextPositions[row.at.sequenceIndex] - row.numQueries;
  row.eligible = std::lower_bound(row.positions.begin(), row.positions.end(), first) -
                 row.positions.begin();
  return row;
}

void addQueries(const WindowCall& call, const ObservedRow& row, int32_t member, float* sums) {
  for (int32_t done = 0; done < row.numQueries; done += kMaxObserved) {
    Observation o = observation(call, row, member, done);
    o.sums = sums;
    observe()(o);
  }
}

void weighQueries(const WindowCall& call, const ObservedRow& row, int32_t member,
                  std::vector<float>& weights) {
  const size_t length = row.length();
  // Tokens that no query sees are skipped, so they must be 0 before.
  weights.assign(size_t(row.numQueries) * length, 0);
  for (int32_t done = 0; done < row.numQueries; done += kMaxObserved) {
    Observation o = observation(call, row, member, done);
    o.sums = nullptr;
    o.weights = weights.data() + size_t(done) * length;
    observe()(o);
  }
  if (row.order.empty()) return;
  std::vector<float> line(length);
  for (int32_t i = 0; i < row.numQueries; i++) {
    float* own = weights.data() + size_t(i) * length;
    for (size_t j = 0; j < length; j++) line[j] = own[row.order[j]];
    std::copy(line.begin(), line.end(), own);
  }
}

}  // namespace kv
