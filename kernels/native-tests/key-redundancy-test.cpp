#include "key-redundancy.h"

#include <algorithm>

#include "check.h"
#include "random-cache.h"
#include "thread-pool.h"

namespace {

// By definition, pair by pair.
std::vector<double> expectedRow(const RandomCache& cache, const kv::Row& row, double threshold) {
  const int n = row.length, d = cache.options.headDim;
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return cache.positions[kv::physicalSlot(row, a)] < cache.positions[kv::physicalSlot(row, b)];
  });
  const auto dot = [&](int a, int b) {
    double sum = 0;
    for (int c = 0; c < d; c++)
      sum += double(cache.read(kv::keyOf(row, order[a]), c)) *
             cache.read(kv::keyOf(row, order[b]), c);
    return sum;
  };
  std::vector<double> norm(n), sums(n, 0), out(n);
  for (int i = 0; i < n; i++) norm[i] = std::sqrt(dot(i, i));
  for (int i = 0; i < n; i++) {
    std::vector<double> cosine(n, 0);
    int pardoned = 0;
    for (int j = 0; j < n; j++) {
      if (j != i) cosine[j] = dot(i, j) / norm[i] / norm[j];
      if (cosine[j] > threshold) pardoned = j;
    }
    cosine[pardoned] = 0;
    for (int j = 0; j < n; j++) sums[j] += cosine[j] / n;
  }
  double total = 0;
  for (double x : sums) total += std::exp(x);
  for (int j = 0; j < n; j++) out[order[j]] = std::exp(sums[j]) / total;
  return out;
}

}  // namespace

void testKeyRedundancy(const std::string& isa) {
  ThreadPool pool(3);
  std::mt19937 random(4);
  const auto pick = [&](std::initializer_list<int> choices) {
    return choices.begin()[random() % choices.size()];
  };
  for (int index = 0; index < 12; index++) {
    CacheOptions o;
    o.headDim = pick({64, 8, 13}), o.numKvHeads = pick({1, 2}), o.numQueryHeads = o.numKvHeads;
    o.blockSize = pick({16, 5}), o.dtype = pick({kv::kF32, kv::kF16}), o.maxSequences = 2;
    RandomCache cache(o, index);
    const int32_t sequences[] = {1}, layers[] = {0, 1};
    std::vector<uint32_t> indptr{0};
    for (int layer = 0; layer < 2; layer++)
      for (int head = 0; head < o.numKvHeads; head++) {
        cache.fill(1, layer, head, pick({1, 2, 60, 300}), 390);
        indptr.push_back(indptr.back() + cache.row(1, layer, head).length);
      }
    const kv::BatchRows rows{&cache.view, indptr.data(), sequences, layers, 1, 2};
    const float threshold = float(pick({1, 5, 9})) / 10;
    std::vector<float> scores(indptr.back(), NAN);
    std::vector<double> expected;
    for (int layer = 0; layer < 2; layer++)
      for (int head = 0; head < o.numKvHeads; head++)
        for (double x : expectedRow(cache, cache.row(1, layer, head), threshold))
          expected.push_back(x);
    const std::string name = isa + " key redundancy " + std::to_string(index);
    kv::keyRedundancy(rows, threshold, scores.data(), kv::serial());
    expectClose(scores, expected, 1e-6, name);
    const std::vector<float> once = scores;
    kv::keyRedundancy(rows, threshold, scores.data(), pool.parallelFor());
    expect(scores == once, name + ": threads change the scores");
  }
}
