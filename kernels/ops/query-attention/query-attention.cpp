#include "query-attention.h"

#include <algorithm>
#include <vector>

namespace kv {
namespace {

bool isSeen(const QueryAttentionCall& call, int32_t position) {
  for (int32_t i = 0; i < call.numRanges; i++)
    if (position >= call.seen[2 * i] && position < call.seen[2 * i + 1]) return true;
  return false;
}

// Seen slots of a row: runs of slots, and their positions.
struct SeenSlots {
  std::vector<SlotPiece> pieces;
  std::vector<int32_t> positions;

  void add(int32_t slot, int32_t position) {
    if (!pieces.empty() && pieces.back().begin + pieces.back().count == slot)
      pieces.back().count++;
    else
      pieces.push_back({slot, 1});
    positions.push_back(position);
  }
};

void lookFromHead(const QueryAttentionCall& call, int32_t queryHead) {
  const KvCache& cache = *call.cache;
  const int32_t d = cache.headDim, head = queryHead / (cache.numQueryHeads / cache.numKvHeads);
  const Row row = rowOf(cache, call.sequence, call.layer, head);
  SeenSlots seen;
  int32_t numScored = 0;
  for (const bool scored : {true, false})
    for (int32_t slot = 0; slot < row.length; slot++) {
      const int32_t position = row.arena->positions[physicalSlot(row, slot)];
      const bool wanted = position >= call.scoredFrom && position < call.scoredTo;
      if (wanted != scored || !isSeen(call, position)) continue;
      seen.add(slot, position);
      numScored += scored;
    }
  if (numScored == 0) return;
  std::vector<float> weights(numScored);
  HeadQueries queries;
  queries.row = row;
  queries.pieces = seen.pieces.data();
  queries.numPieces = int32_t(seen.pieces.size());
  queries.numKeys = int32_t(seen.positions.size());
  queries.numScored = numScored;
  queries.positions = seen.positions.data();
  queries.queries = call.queries + size_t(queryHead) * d;
  queries.stride = size_t(cache.numQueryHeads) * d;
  queries.factors = call.factors;
  queries.count = call.count, queries.start = call.start, queries.headDim = d;
  queries.reduce = call.reduce, queries.scale = call.scale;
  queries.out = weights.data();
  lookAtKeys()(queries);
  float* line = call.table + size_t(queryHead) * call.width;
  for (int32_t j = 0; j < numScored; j++) {
    float& entry = line[seen.positions[j]];
    entry = call.reduce == QueryReduce::maximum ? std::max(entry, weights[j]) : entry + weights[j];
  }
}

}  // namespace

const char* checkQueryAttention(const QueryAttentionCall& call) {
  const KvCache& cache = *call.cache;
  if (call.sequence < 0 || call.sequence >= cache.maxSequences)
    return "the sequence slot does not exist";
  if (call.layer < 0 || call.layer >= cache.numLayers) return "the layer does not exist";
  if (call.count < 0 || call.start < 0) return "there are no such queries";
  if (call.width < 0 || call.scoredFrom < 0 || call.scoredTo > call.width)
    return "the scored positions do not fit the table";
  if (call.reduce != QueryReduce::maximum && call.reduce != QueryReduce::sum)
    return "reduce must be 0 or 1";
  for (int32_t head = 0; head < cache.numKvHeads; head++)
    if (const char* problem = checkRow(cache, rowOf(cache, call.sequence, call.layer, head)))
      return problem;
  return nullptr;
}

void queryAttention(const QueryAttentionCall& call, const ParallelFor& parallelFor) {
  if (call.count == 0) return;
  parallelFor(size_t(call.cache->numQueryHeads),
              [&](size_t head) { lookFromHead(call, int32_t(head)); });
}

}  // namespace kv
