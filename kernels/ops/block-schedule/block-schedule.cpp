#include "block-schedule.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace kv {
namespace {

struct BlockCost {
  float cost;
  uint32_t row;  // within its sequence
};

// Slots in the last block of a row: 1 ... blockSize.
uint32_t hanging(uint32_t length, uint32_t blockSize) { return (length - 1) % blockSize + 1; }

// Finite costs of the first, second ... block of a row, never falling.
std::vector<float> blockCosts(const float* scores, uint32_t length, uint32_t blockSize) {
  std::vector<float> sorted, costs;
  for (uint32_t j = 0; j < length; j++)
    if (scores[j] < std::numeric_limits<float>::infinity()) sorted.push_back(scores[j]);
  std::sort(sorted.begin(), sorted.end());
  for (size_t dearest = hanging(length, blockSize) - 1;
       dearest < sorted.size() && dearest + 1 < length; dearest += blockSize)
    costs.push_back(sorted[dearest]);
  return costs;
}

}  // namespace

std::string blockSchedule(const BlockScheduleCall& call, const ParallelFor& parallelFor) {
  if (call.rowsPerSequence == 0 || call.blockSize == 0 || call.numRows % call.rowsPerSequence != 0)
    return "rows must be whole sequences, blocks must hold a token";
  for (size_t row = 0; row < call.numRows; row++)
    if (call.rowIndptr[row + 1] < call.rowIndptr[row] ||
        call.rowIndptr[row + 1] > call.numScores)
      return "row " + std::to_string(row) + " lies outside the scores";

  std::vector<std::vector<float>> costs(call.numRows);
  parallelFor(call.numRows, [&](size_t row) {
    const uint32_t begin = call.rowIndptr[row], length = call.rowIndptr[row + 1] - begin;
    if (length > 0) costs[row] = blockCosts(call.scores + begin, length, call.blockSize);
  });
  std::vector<BlockCost> blocks;
  std::vector<uint32_t> freed(call.rowsPerSequence);
  for (size_t first = 0; first < call.numRows; first += call.rowsPerSequence) {
    blocks.clear();
    for (uint32_t row = 0; row < call.rowsPerSequence; row++)
      for (const float cost : costs[first + row]) blocks.push_back({cost, row});
    const size_t wanted =
        std::min<size_t>(blocks.size(), call.wanted[first / call.rowsPerSequence]);
    std::nth_element(blocks.begin(), blocks.begin() + wanted, blocks.end(),
                     [](const BlockCost& a, const BlockCost& b) {
                       return a.cost < b.cost || (a.cost == b.cost && a.row < b.row);
                     });
    std::fill(freed.begin(), freed.end(), 0);
    for (size_t i = 0; i < wanted; i++) freed[blocks[i].row]++;
    for (uint32_t row = 0; row < call.rowsPerSequence; row++) {
      const uint32_t length = call.rowIndptr[first + row + 1] - call.rowIndptr[first + row];
      call.counts[first + row] = length;
      if (freed[row] > 0)
        call.counts[first + row] -=
            (freed[row] - 1) * call.blockSize + hanging(length, call.blockSize);
    }
  }
  return {};
}

}  // namespace kv
