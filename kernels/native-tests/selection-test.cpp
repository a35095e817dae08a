#include "check.h"
#include "compact.h"
#include "random-cache.h"
#include "thread-pool.h"
#include "top-k.h"

namespace {

void testTopKCase(std::mt19937& random, ThreadPool& pool, int index) {
  std::vector<uint32_t> rowIndptr{0}, counts, indptr{0};
  std::vector<float> scores;
  const float ties[] = {-INFINITY, -2.5f, -0.f, 0.f, 1e-40f, 3.f, INFINITY};
  for (int row = 0; row < 20; row++) {
    const uint32_t length = random() % 300;
    for (uint32_t j = 0; j < length; j++)
      scores.push_back(index % 2 ? ties[random() % 7] : std::normal_distribution<float>()(random));
    rowIndptr.push_back(uint32_t(scores.size()));
    counts.push_back(random() % (length + 1));
    indptr.push_back(indptr.back() + counts.back());
  }
  const bool higher = index % 4 >= 2;
  std::vector<uint32_t> indices(indptr.back() + 5), expected;
  const kv::TopKCall call{rowIndptr.data(), scores.data(),  counts.data(),
                          indptr.data(),    indices.data(), counts.size(),
                          scores.size(),    indices.size(), higher};
  const std::string problem = kv::topK(call, pool.parallelFor());
  for (size_t row = 0; row < counts.size(); row++) {
    std::vector<uint32_t> order(rowIndptr[row + 1] - rowIndptr[row]);
    std::iota(order.begin(), order.end(), 0);
    if (higher) std::reverse(order.begin(), order.end());
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return scores[rowIndptr[row] + a] > scores[rowIndptr[row] + b];
    });
    order.resize(counts[row]);
    std::sort(order.begin(), order.end());
    expected.insert(expected.end(), order.begin(), order.end());
  }
  indices.resize(expected.size());
  expect(problem.empty() && indices == expected, "top-k " + std::to_string(index) + " " + problem);
}

void testTopKErrors() {
  const uint32_t rowIndptr[] = {0, 2}, indptr[] = {0, 3};
  uint32_t count = 3, indices[3];
  float scores[] = {1, NAN};
  kv::TopKCall call{rowIndptr, scores, &count, indptr, indices, 1, 2, 3, false};
  expect(!kv::topK(call, kv::serial()).empty(), "a count above the row's length");
  const uint32_t one[] = {0, 1};
  call.indptr = one, count = 1;
  expect(!kv::topK(call, kv::serial()).empty(), "a score that is not a number");
  scores[1] = 0;
  expect(kv::topK(call, kv::serial()).empty(), "a good call");
}

void testCompact(ThreadPool& pool, int dtype) {
  CacheOptions o;
  o.dtype = dtype, o.headDim = 10, o.numLayers = 1;
  RandomCache cache(o, 11);
  for (int head = 0; head < 2; head++) cache.fill(0, 0, head, 500, 600);
  std::vector<int32_t> moves;
  std::vector<std::vector<float>> expected;
  const auto token = [&](const kv::Row& row, int slot) {
    const size_t physical = kv::physicalSlot(row, slot);
    std::vector<float> all{float(cache.positions[physical]), cache.sums[physical],
                           cache.squares[physical]};
    for (int c = 0; c < 10; c++) {
      all.push_back(cache.read(kv::keyOf(row, slot), c));
      all.push_back(cache.read(kv::valueOf(row, slot), c));
    }
    return all;
  };
  for (int head = 0; head < 2; head++) {
    const kv::Row row = cache.row(0, 0, head);
    for (int j = 0; j < 200; j++) {
      moves.push_back(int32_t(kv::physicalSlot(row, 300 + j)));
      moves.push_back(int32_t(kv::physicalSlot(row, 199 - j)));
      expected.push_back(token(row, 300 + j));
    }
  }
  expect(!kv::compact(cache.view.arenas[0], moves.data(), moves.size() / 2, pool.parallelFor()),
         "compact");
  for (int head = 0; head < 2; head++)
    for (int j = 0; j < 200; j++)
      expect(token(cache.row(0, 0, head), 199 - j) == expected[head * 200 + j],
             "a token that moved");
  const int32_t outside[] = {0, 1 << 30};
  expect(kv::compact(cache.view.arenas[0], outside, 1, kv::serial()), "a move out of the arena");
}

}  // namespace

void testSelection() {
  ThreadPool pool(3);
  std::mt19937 random(1);
  for (int index = 0; index < 40; index++) testTopKCase(random, pool, index);
  testTopKErrors();
  for (int dtype : {kv::kF32, kv::kF16}) testCompact(pool, dtype);
}
