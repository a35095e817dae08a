#include "window-score.h"

#include "check.h"
#include "key-norm.h"
#include "random-cache.h"
#include "thread-pool.h"

namespace {

struct Batch {
  std::vector<uint32_t> indptr{0};
  std::vector<int32_t> sequences, layers;
  kv::BatchRows rows;

  Batch(const RandomCache& cache, std::vector<int32_t> s, std::vector<int32_t> l)
      : sequences(std::move(s)), layers(std::move(l)) {
    for (int32_t sequence : sequences)
      for (int32_t layer : layers)
        for (int head = 0; head < cache.options.numKvHeads; head++)
          indptr.push_back(indptr.back() + cache.row(sequence, layer, head).length);
    rows = {&cache.view,
            indptr.data(),
            sequences.data(),
            layers.data(),
            int32_t(sequences.size()),
            int32_t(layers.size())};
  }
};

// Attention of one query over a row by definition: softmax over keys not after it.
std::vector<double> attentionOf(const RandomCache& cache, const kv::Row& row, const float* query,
                                int position, const kv::WindowScoreCall& call) {
  std::vector<double> a(row.length, 0);
  double max = -INFINITY, total = 0;
  for (int pass = 0; pass < 3; pass++)
    for (int j = 0; j < row.length; j++) {
      const int distance = position - cache.positions[kv::physicalSlot(row, j)];
      if (distance < 0) continue;
      if (pass == 0) {
        for (int c = 0; c < cache.options.headDim; c++)
          a[j] += double(query[c]) * cache.read(kv::keyOf(row, j), c);
        max = std::max(max, a[j] *= call.scale);
      } else if (pass == 1) {
        total += a[j] = std::exp(a[j] - max);
      } else {
        a[j] = distance < call.buffer ? 0 : std::pow(a[j] / total, call.power);
      }
    }
  return a;
}

// Pools the eligible tokens by rank of position; the others become 0.
std::vector<double> pooled(const RandomCache& cache, const kv::Row& row, std::vector<double> values,
                           int limit, kv::Pool kind, int size) {
  std::vector<int> order;
  for (int j = 0; j < row.length; j++)
    if (cache.positions[kv::physicalSlot(row, j)] < limit) order.push_back(j);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return cache.positions[kv::physicalSlot(row, a)] < cache.positions[kv::physicalSlot(row, b)];
  });
  std::vector<double> out(row.length, 0);
  for (int j = 0; j < int(order.size()); j++) {
    double result = kind == kv::Pool::maximum ? -INFINITY : 0;
    for (int i = std::max(0, j - size / 2); i <= std::min(int(order.size()) - 1, j + size / 2); i++)
      result = kind == kv::Pool::maximum ? std::max(result, values[order[i]])
                                         : result + values[order[i]] / size;
    out[order[j]] = kind == kv::Pool::none ? values[order[j]] : result;
  }
  return out;
}

std::vector<double> expectedScores(const RandomCache& cache, const Batch& batch,
                                   const kv::WindowScoreCall& call) {
  const auto& o = cache.options;
  const int group = o.numQueryHeads / o.numKvHeads;
  std::vector<double> out;
  const auto combine = [&](double a, double b) {
    return call.groupReduce == kv::GroupReduce::maximum ? std::max(a, b) : a + b;
  };
  for (size_t s = 0; s < batch.sequences.size(); s++)
    for (int layer : batch.layers) {
      const int sequence = batch.sequences[s], next = call.nextPositions[s];
      const int observed = std::min(call.window, call.windowLengths[s]);
      const int limit = call.excludeWindow ? next - observed : INT32_MAX;
      std::vector<std::vector<double>> totals(o.numKvHeads);
      for (int h = 0; h < o.numKvHeads; h++) {
        const kv::Row row = cache.row(sequence, layer, h);
        totals[h].assign(row.length, 0);
        for (int g = 0; g < group; g++) {
          std::vector<double> head(row.length, 0);
          const int slab = call.slab ? call.slab : observed;
          for (int first = 0; first < observed; first += slab) {
            std::vector<double> sums(row.length, 0);
            for (int i = first; i < std::min(observed, first + slab); i++) {
              const int p = next - observed + i;
              const size_t line =
                  ((size_t(sequence) * o.numLayers + layer) * o.windowSize + p % o.windowSize) *
                      o.numQueryHeads +
                  h * group + g;
              const auto a = attentionOf(cache, row, &cache.ring[line * o.headDim], p, call);
              for (int j = 0; j < row.length; j++) sums[j] += a[j];
            }
            sums = pooled(cache, row, sums, limit, call.poolFirst ? call.pool : kv::Pool::none,
                          call.poolSize);
            for (int j = 0; j < row.length; j++) head[j] += sums[j];
          }
          const double divisor = call.rowReduce == kv::RowReduce::mean ? observed : 1;
          for (int j = 0; j < row.length; j++)
            totals[h][j] = combine(totals[h][j], head[j] / divisor);
        }
      }
      const auto before = totals;
      for (int h = 0; h < o.numKvHeads; h++) {
        const kv::Row row = cache.row(sequence, layer, h);
        for (int j = 0; call.allHeads && j < row.length; j++) {
          double merged = 0;
          for (int other = 0; other < o.numKvHeads; other++) {
            const kv::Row r = cache.row(sequence, layer, other);
            for (int i = 0; i < r.length; i++)
              if (cache.positions[kv::physicalSlot(r, i)] ==
                  cache.positions[kv::physicalSlot(row, j)])
                merged = combine(merged, before[other][i]);
          }
          totals[h][j] = merged;
        }
        if (call.groupReduce == kv::GroupReduce::mean)
          for (double& x : totals[h]) x /= call.allHeads ? o.numQueryHeads : group;
        const auto row_ = pooled(cache, row, totals[h], limit,
                                 call.poolFirst ? kv::Pool::none : call.pool, call.poolSize);
        out.insert(out.end(), row_.begin(), row_.end());
      }
    }
  return out;
}

void testKeyNorm(const RandomCache& cache, const Batch& batch, const std::string& name) {
  std::vector<float> scores(batch.indptr.back(), NAN);
  std::vector<double> expected;
  for (size_t r = 0; r < kv::countRows(batch.rows); r++) {
    const kv::Row row = kv::rowAt(batch.rows, r).row;
    for (int j = 0; j < row.length; j++) {
      double squares = 0;
      for (int c = 0; c < cache.options.headDim; c++)
        squares += std::pow(double(cache.read(kv::keyOf(row, j), c)), 2);
      expected.push_back(-std::sqrt(squares));
    }
  }
  kv::keyNorm(batch.rows, scores.data(), kv::serial());
  expectClose(scores, expected, 1e-6, name + " key norms");
}

}  // namespace

void testWindowScore(const std::string& isa) {
  ThreadPool pool(3);
  std::mt19937 random(5);
  const auto pick = [&](std::initializer_list<int> choices) {
    return choices.begin()[random() % choices.size()];
  };
  for (int index = 0; index < 60; index++) {
    CacheOptions o;
    o.headDim = pick({64, 8, 24, 80, 13});
    o.numKvHeads = pick({1, 2, 3}), o.numQueryHeads = o.numKvHeads * pick({1, 2, 4});
    o.blockSize = pick({8, 16, 32, 5}), o.dtype = pick({kv::kF32, kv::kF16});
    o.windowSize = pick({4, 33, 70, 150}), o.maxSequences = 2, o.maxLength = 400;
    RandomCache cache(o, index);
    cache.ring = cache.normals(cache.ring.size(), 2);
    cache.view.windowQueries = cache.ring.data();
    const int next[] = {330, 390};
    for (int s = 0; s < 2; s++)
      for (int layer = 0; layer < o.numLayers; layer++)
        for (int head = 0; head < o.numKvHeads; head++)
          cache.fill(s, layer, head, pick({0, 1, 100, 300}), next[s]);
    const Batch batch(cache, {1, 0}, {0, 1});
    const int32_t nextPositions[] = {next[1], next[0]};
    const int32_t windowLengths[] = {o.windowSize, (o.windowSize + 1) / 2};
    std::vector<float> scores(batch.indptr.back(), NAN);
    kv::WindowScoreCall call{batch.rows,
                             nextPositions,
                             windowLengths,
                             1 + int(random() % o.windowSize),
                             pick({1, 2}),
                             pick({0, 0, 3, 40}),
                             kv::Pool(pick({0, 1, 2})),
                             pick({1, 5, 7}),
                             kv::RowReduce(pick({0, 1})),
                             kv::GroupReduce(pick({0, 1, 2})),
                             pick({0, 1}) == 1,
                             pick({0, 0, 1}) == 1,
                             0,
                             pick({0, 1}) == 1,
                             1 / std::sqrt(float(o.headDim)),
                             scores.data()};
    if (call.poolFirst) call.slab = pick({0, 3, 64});
    const std::string name = isa + " window score " + std::to_string(index);
    const char* problem = kv::checkRows(batch.rows, scores.size());
    if (!problem) problem = kv::checkWindowScore(call);
    expect(!problem, name + ": " + (problem ? problem : ""));
    if (problem) continue;
    kv::windowScore(call, kv::serial());
    expectClose(scores, expectedScores(cache, batch, call), 5e-6, name);
    const std::vector<float> once = scores;
    kv::windowScore(call, pool.parallelFor());
    expect(scores == once, name + ": threads change the scores");
    testKeyNorm(cache, batch, name);
  }
}
