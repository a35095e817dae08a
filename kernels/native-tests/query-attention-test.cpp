#include "query-attention.h"

#include "check.h"
#include "random-cache.h"
#include "thread-pool.h"

namespace {

bool inRanges(const std::vector<int32_t>& ranges, int position) {
  for (size_t i = 0; i < ranges.size(); i += 2)
    if (position >= ranges[i] && position < ranges[i + 1]) return true;
  return false;
}

// What the table holds afterwards, by definition.
std::vector<double> expectedTable(const RandomCache& cache, const kv::QueryAttentionCall& call,
                                  const std::vector<int32_t>& seen,
                                  const std::vector<float>& before) {
  const auto& o = cache.options;
  const int group = o.numQueryHeads / o.numKvHeads;
  std::vector<double> table(before.begin(), before.end());
  for (int head = 0; head < o.numQueryHeads; head++) {
    const kv::Row row = cache.row(call.sequence, call.layer, head / group);
    for (int i = 0; i < call.count; i++) {
      std::vector<double> logits(row.length, -INFINITY);
      double highest = -INFINITY, total = 0;
      for (int j = 0; j < row.length; j++) {
        const int position = cache.positions[kv::physicalSlot(row, j)];
        if (position > call.start + i || !inRanges(seen, position)) continue;
        double dot = 0;
        for (int c = 0; c < o.headDim; c++)
          dot += double(call.queries[(size_t(i) * o.numQueryHeads + head) * o.headDim + c]) *
                 cache.read(kv::keyOf(row, j), c);
        highest = std::max(highest, logits[j] = dot * call.scale);
      }
      for (double x : logits) total += std::exp(x - highest);
      for (int j = 0; j < row.length; j++) {
        const int position = cache.positions[kv::physicalSlot(row, j)];
        if (std::isinf(logits[j]) || position < call.scoredFrom || position >= call.scoredTo)
          continue;
        const double weight = std::exp(logits[j] - highest) / total * call.factors[i];
        double& entry = table[size_t(head) * call.width + position];
        entry = call.reduce == kv::QueryReduce::maximum ? std::max(entry, weight) : entry + weight;
      }
    }
  }
  return table;
}

}  // namespace

void testQueryAttention(const std::string& isa) {
  ThreadPool pool(3);
  std::mt19937 random(9);
  const auto pick = [&](std::initializer_list<int> choices) {
    return choices.begin()[random() % choices.size()];
  };
  for (int index = 0; index < 40; index++) {
    CacheOptions o;
    o.headDim = pick({64, 8, 24, 80, 13});
    o.numKvHeads = pick({1, 2, 3}), o.numQueryHeads = o.numKvHeads * pick({1, 2, 4});
    o.blockSize = pick({8, 16, 32, 5}), o.dtype = pick({kv::kF32, kv::kF16});
    o.maxSequences = 2, o.maxLength = 400;
    RandomCache cache(o, index);
    for (int layer = 0; layer < o.numLayers; layer++)
      for (int head = 0; head < o.numKvHeads; head++)
        cache.fill(1, layer, head, pick({0, 1, 100, 300, 380}), 390);
    const int32_t count = pick({1, 7, 60, 130}), width = 300;
    const auto queries = cache.normals(size_t(count) * o.numQueryHeads * o.headDim, 2);
    auto factors = cache.normals(count);
    for (float& x : factors) x = x < -1 ? 0 : std::fabs(x);
    std::vector<int32_t> seen = {0, 4, pick({40, 90}), 280, 290, pick({300, 1000})};
    if (pick({0, 1})) seen = {0, 1000};
    std::vector<float> table(size_t(o.numQueryHeads) * width, 0.001f);
    const std::vector<float> before = table;
    const kv::QueryAttentionCall call{
        &cache.view,          1,
        pick({0, 1}),         queries.data(),
        factors.data(),       count,
        pick({0, 150, 250}),  seen.data(),
        int32_t(seen.size() / 2), pick({0, 90}),
        pick({280, 300, 91}), kv::QueryReduce(pick({0, 1})),
        1 / std::sqrt(float(o.headDim)), table.data(), width};
    const std::string name = isa + " query attention " + std::to_string(index);
    const char* problem = kv::checkQueryAttention(call);
    expect(!problem, name + ": " + (problem ? problem : ""));
    if (problem) continue;
    kv::queryAttention(call, kv::serial());
    expectClose(table, expectedTable(cache, call, seen, before), 1e-5, name);
    const std::vector<float> once = table;
    table = before;
    kv::queryAttention(call, pool.parallelFor());
    expect(table == once, name + ": threads change the table");
  }
}
