// What the last queries of a sequence pay to the tokens of a row: the part that kernels over a
// window of queries share.
#pragma once
#include <vector>

#include "batch-rows.h"
#include "parallel.h"

namespace kv {

struct WindowCall {
  BatchRows rows;
  const int32_t* nextPositions;  // [numSequences]
  const int32_t* windowLengths;  // [numSequences]: valid entries of the ring
  int32_t window;
  float scale;  // on the logits
};

// nullptr, or what is wrong with the call. The rows must have passed checkRows.
const char* checkWindow(const WindowCall& call);

struct ObservedRow {
  BatchRow at;
  std::vector<int32_t> bySlot;     // positions
  std::vector<int32_t> order;      // order[j] = slot of the j-th token; empty where it is j
  std::vector<int32_t> positions;  // ascending
  size_t eligible;                 // tokens [0, eligible) stand before the window
  int32_t numQueries;              // observed

  size_t length() const { return positions.size(); }
  size_t slotOf(size_t j) const { return order.empty() ? j : size_t(order[j]); }
};

ObservedRow openRow(const WindowCall& call, size_t index);

// Attention of one query head, summed over the queries, in slot order: added to sums [length].
void addQueries(const WindowCall& call, const ObservedRow& row, int32_t member, float* sums);

// Attention of one query head, in order of position: [numQueries, length], oldest query first.
void weighQueries(const WindowCall& call, const ObservedRow& row, int32_t member,
                  std::vector<float>& weights);

}  // namespace kv
