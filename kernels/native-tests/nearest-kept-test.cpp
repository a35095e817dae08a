#include "check.h"
#include "nearest-kept.h"
#include "random-cache.h"
#include "thread-pool.h"

namespace {

double cosine(const RandomCache& cache, const kv::Row& row, int a, int b) {
  double dot = 0, aa = 0, bb = 0;
  for (int c = 0; c < cache.options.headDim; c++) {
    const double x = cache.read(kv::keyOf(row, a), c), y = cache.read(kv::keyOf(row, b), c);
    dot += x * y, aa += x * x, bb += y * y;
  }
  return dot / std::sqrt(aa) / std::sqrt(bb);
}

void testCase(const std::string& isa, int headDim, int dtype, unsigned seed) {
  const std::string name = isa + " nearest-kept of " + std::to_string(headDim);
  CacheOptions o;
  o.headDim = headDim, o.dtype = dtype;
  RandomCache cache(o, seed);
  const int32_t sequences[] = {2, 0}, layers[] = {0, 1};
  std::vector<uint32_t> rowIndptr{0}, indptr{0}, indices;
  for (int sequence : sequences)
    for (int layer : layers)
      for (int head = 0; head < o.numKvHeads; head++) {
        const int length = 1 + int(cache.random() % 400), every = 1 + int(cache.random() % 5);
        cache.fill(sequence, layer, head, length, 500);
        for (int slot = 0; slot < length; slot++)
          if (int(cache.random() % 5) < every) indices.push_back(slot);
        if (indices.size() == indptr.back()) indices.push_back(length - 1);
        rowIndptr.push_back(rowIndptr.back() + length);
        indptr.push_back(uint32_t(indices.size()));
      }
  std::vector<uint32_t> nearest(rowIndptr.back(), 7);
  std::vector<float> similarity(nearest.size(), 7);
  const kv::NearestKeptCall call{{&cache.view, rowIndptr.data(), sequences, layers, 2, 2},
                                 indptr.data(),
                                 indices.data(),
                                 indices.size(),
                                 nearest.data(),
                                 similarity.data()};
  expect(kv::checkNearestKept(call) == nullptr, name + ": a good call");
  ThreadPool pool(2);
  kv::nearestKept(call, pool.parallelFor());
  std::vector<double> best(nearest.size(), 0), found(nearest.size(), 0);
  for (size_t r = 0; r + 1 < indptr.size(); r++) {
    const kv::BatchRow at = kv::rowAt(call.rows, r);
    const auto kept = std::vector<uint32_t>(indices.begin() + indptr[r], indices.begin() + indptr[r + 1]);
    for (int slot = 0; slot < at.row.length; slot++) {
      if (std::binary_search(kept.begin(), kept.end(), uint32_t(slot))) continue;
      double highest = -2;
      for (uint32_t other : kept) highest = std::max(highest, cosine(cache, at.row, slot, other));
      best[at.begin + slot] = highest;
      found[at.begin + slot] = cosine(cache, at.row, slot, nearest[at.begin + slot]);
      expect(std::binary_search(kept.begin(), kept.end(), nearest[at.begin + slot]),
             name + ": the nearest is kept");
    }
  }
  expectClose(similarity, best, 1e-5, name + ": the highest cosine");
  expectClose(found, best, 1e-5, name + ": of the key it names");
  indices[0] = 100000;
  expect(kv::checkNearestKept(call) != nullptr, name + ": a slot that does not exist");
}

}  // namespace

void testNearestKept(const std::string& isa) {
  testCase(isa, 64, kv::kF32, 1);
  testCase(isa, 64, kv::kF16, 2);
  testCase(isa, 20, kv::kF32, 3);
  testCase(isa, 3, kv::kF16, 4);
}
