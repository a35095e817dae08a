#include "top-k.h"

#include <atomic>
#include <cmath>
#include <cstring>

namespace kv {
namespace {

// Order of floats as order of unsigned integers; −0 equals 0.
uint32_t keyOf(float score) {
  uint32_t bits;
  score += 0.f;
  std::memcpy(&bits, &score, 4);
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

struct Threshold {
  uint32_t key;    // of the lowest score that is kept
  uint32_t above;  // scores higher than it
};

// Radix selection of the count-th highest score, 11 bits at a time from the top.
Threshold thresholdOf(const float* scores, uint32_t length, uint32_t count) {
  Threshold found{0, 0};
  uint32_t mask = 0;
  for (const int shift : {21, 10, 0}) {
    const uint32_t digits = shift ? 2047 : 1023;
    uint32_t histogram[2048] = {};
    for (uint32_t j = 0; j < length; j++) {
      const uint32_t key = keyOf(scores[j]);
      if ((key & mask) == found.key) histogram[key >> shift & digits]++;
    }
    uint32_t digit = digits;
    while (found.above + histogram[digit] < count) found.above += histogram[digit--];
    found.key |= digit << shift;
    mask |= digits << shift;
  }
  return found;
}

void selectRow(const float* scores, uint32_t length, uint32_t count, bool higherSlotWins,
               uint32_t* indices) {
  if (count == 0) return;
  const Threshold threshold = thresholdOf(scores, length, count);
  uint32_t skip = 0;  // ties that are passed over
  if (higherSlotWins) {
    for (uint32_t j = 0; j < length; j++) skip += keyOf(scores[j]) == threshold.key;
    skip -= count - threshold.above;
  }
  uint32_t ties = count - threshold.above;
  for (uint32_t j = 0; j < length; j++) {
    const uint32_t key = keyOf(scores[j]);
    if (key < threshold.key) continue;
    if (key == threshold.key) {
      if (skip > 0) {
        skip--;
        continue;
      }
      if (ties == 0) continue;
      ties--;
    }
    *indices++ = j;
  }
}

std::string checkCounts(const TopKCall& call) {
  for (size_t row = 0; row < call.numRows; row++) {
    const uint32_t begin = call.rowIndptr[row], end = call.rowIndptr[row + 1];
    const std::string name = "row " + std::to_string(row);
    if (end < begin || end > call.numScores) return name + " lies outside the scores";
    if (call.counts[row] > end - begin)
      return name + " has " + std::to_string(end - begin) + " tokens and cannot keep " +
             std::to_string(call.counts[row]);
    if (uint64_t(call.indptr[row]) + call.counts[row] != call.indptr[row + 1] ||
        call.indptr[row + 1] > call.numIndices)
      return name + ": indptr is not the prefix sum of counts or runs past the indices";
  }
  return {};
}

}  // namespace

std::string topK(const TopKCall& call, const ParallelFor& parallelFor) {
  std::string problem = checkCounts(call);
  if (!problem.empty()) return problem;
  std::atomic<int64_t> notANumber{-1};
  parallelFor(call.numRows, [&](size_t row) {
    const float* scores = call.scores + call.rowIndptr[row];
    const uint32_t length = call.rowIndptr[row + 1] - call.rowIndptr[row];
    bool valid = true;
    for (uint32_t j = 0; j < length; j++) valid &= !std::isnan(scores[j]);
    if (!valid && call.counts[row] > 0) {
      notANumber = int64_t(row);
      return;
    }
    selectRow(scores, length, call.counts[row], call.higherSlotWins,
              call.indices + call.indptr[row]);
  });
  if (notANumber >= 0)
    return "row " + std::to_string(notANumber) + " has a score that is not a number";
  return {};
}

}  // namespace kv
