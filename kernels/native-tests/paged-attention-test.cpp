#include "paged-attention.h"

#include "check.h"
#include "random-cache.h"
#include "thread-pool.h"

namespace {

struct Case {
  CacheOptions cache;
  std::vector<int> before;  // tokens of each sequence before the step, about
  std::vector<int> chunk;   // new tokens of each sequence
  int slidingWindow = 0;
  float softcap = 0;
  int flags = 0, buffer = 0;
};

struct Step {
  std::vector<float> query, key, value, out;
  std::vector<int32_t> cuTokens{0}, positions, sequences, flags, buffers;

  kv::PagedAttentionCall call(const RandomCache& cache, const Case& c, int layer) {
    out.assign(query.size(), NAN);
    return {&cache.view,
            query.data(),
            key.data(),
            value.data(),
            out.data(),
            cuTokens.data(),
            positions.data(),
            sequences.data(),
            flags.data(),
            buffers.data(),
            int32_t(sequences.size()),
            int32_t(positions.size()),
            layer,
            c.slidingWindow,
            1 / std::sqrt(float(c.cache.headDim)),
            c.softcap};
  }
};

Step makeStep(RandomCache& cache, const Case& c) {
  Step step;
  for (size_t s = 0; s < c.chunk.size(); s++) {
    const int sequence = int(c.chunk.size() - 1 - s);  // slots in another order than the batch
    step.sequences.push_back(sequence);
    step.flags.push_back(c.flags);
    step.buffers.push_back(c.buffer);
    for (int i = 0; i < c.chunk[s]; i++) step.positions.push_back(cache.next[sequence] + i);
    step.cuTokens.push_back(int32_t(step.positions.size()));
    cache.append(sequence, c.chunk[s]);
  }
  const size_t tokens = step.positions.size(), d = c.cache.headDim;
  step.query = cache.normals(tokens * c.cache.numQueryHeads * d, 2);
  step.key = cache.normals(tokens * c.cache.numKvHeads * d);
  step.value = cache.normals(tokens * c.cache.numKvHeads * d);
  return step;
}

// Double loops over what the definition says. `cache` holds the tokens of the step already.
void naive(RandomCache& cache, const Case& c, const Step& step, int layer, std::vector<double>& out,
           std::vector<double>& sums, std::vector<double>& squares) {
  const int d = c.cache.headDim, group = c.cache.numQueryHeads / c.cache.numKvHeads;
  out.assign(step.query.size(), 0);
  for (size_t s = 0; s < step.sequences.size(); s++)
    for (int token = step.cuTokens[s]; token < step.cuTokens[s + 1]; token++)
      for (int h = 0; h < c.cache.numQueryHeads; h++) {
        const kv::Row row = cache.row(step.sequences[s], layer, h / group);
        const size_t offset = (size_t(token) * c.cache.numQueryHeads + h) * d;
        const int visible = row.length - step.cuTokens[s + 1] + token + 1;
        const int p = step.positions[token];
        std::vector<double> a(visible);
        double max = -INFINITY, total = 0;
        for (int j = 0; j < visible; j++) {
          double dot = 0;
          for (int i = 0; i < d; i++)
            dot += double(step.query[offset + i]) * cache.read(kv::keyOf(row, j), i);
          dot /= std::sqrt(double(d));
          if (c.softcap > 0) dot = c.softcap * std::tanh(dot / c.softcap);
          if (c.slidingWindow && cache.positions[kv::physicalSlot(row, j)] <= p - c.slidingWindow)
            dot = -INFINITY;
          a[j] = dot;
          max = std::max(max, dot);
        }
        for (double& x : a) total += x = std::exp(x - max);
        for (int j = 0; j < visible; j++) {
          a[j] /= total;
          for (int i = 0; i < d; i++) out[offset + i] += a[j] * cache.read(kv::valueOf(row, j), i);
          const size_t slot = kv::physicalSlot(row, j);
          if (p - cache.positions[slot] < c.buffer) continue;
          if (c.flags & kv::kSumAttention) sums[slot] += a[j];
          if (c.flags & kv::kSumSquaredAttention) squares[slot] += a[j] * a[j];
        }
      }
}

void fillCache(RandomCache& cache, const Case& c) {
  for (size_t s = 0; s < c.chunk.size(); s++) {
    const int sequence = int(c.chunk.size() - 1 - s), n = c.before[s];
    cache.next[sequence] = n ? n + 20 : 0;
    for (int layer = 0; layer < c.cache.numLayers; layer++)
      for (int head = 0; head < c.cache.numKvHeads; head++)
        cache.fill(sequence, layer, head, std::max(0, n - int(cache.random() % (n / 2 + 1))),
                   n + 20);
  }
}

void runCase(const Case& c, const std::string& name, ThreadPool& pool) {
  RandomCache cache(c.cache, 7);
  fillCache(cache, c);
  Step step = makeStep(cache, c);
  const int layer = c.cache.numLayers - 1;
  std::vector<double> sums(cache.sums.begin(), cache.sums.end());
  std::vector<double> squares(cache.squares.begin(), cache.squares.end());
  for (size_t s = 0; s < step.sequences.size(); s++)
    for (int head = 0; head < c.cache.numKvHeads; head++) {
      const kv::Row row = cache.row(step.sequences[s], layer, head);
      for (int i = 0; i < c.chunk[s]; i++)
        sums[kv::physicalSlot(row, row.length - 1 - i)] =
            squares[kv::physicalSlot(row, row.length - 1 - i)] = 0;
    }
  kv::PagedAttentionCall call = step.call(cache, c, layer);
  const char* problem = kv::checkPagedAttention(call);
  expect(!problem, name + ": " + (problem ? problem : ""));
  if (problem) return;
  const std::vector<float> sumsBefore = cache.sums;
  kv::pagedAttention(call, kv::serial());
  std::vector<double> expected;
  naive(cache, c, step, layer, expected, sums, squares);
  // Logits reach 30, where a float's last bit is 2e-6; a weight errs by as much, relatively.
  expectClose(step.out, expected, 4e-6, name + " out");
  expectClose(cache.sums, sums, 4e-6, name + " sums");
  expectClose(cache.squares, squares, 4e-6, name + " squares");

  // The same bits with other threads, and for every sequence alone.
  const std::vector<float> out = step.out, sumsOnce = cache.sums;
  cache.sums = sumsBefore;
  cache.view.arenas[0].sumAttention = cache.sums.data();
  kv::pagedAttention(step.call(cache, c, layer), pool.parallelFor());
  expect(step.out == out, name + ": threads change the result");
  expect(cache.sums == sumsOnce, name + ": threads change the sums");
  for (size_t s = 0; s < step.sequences.size(); s++) {
    const int32_t first = step.cuTokens[s], count = step.cuTokens[s + 1] - first;
    const int32_t alone[2] = {0, count};
    kv::PagedAttentionCall one = step.call(cache, c, layer);
    const size_t qWidth = size_t(c.cache.numQueryHeads) * c.cache.headDim;
    const size_t kvWidth = size_t(c.cache.numKvHeads) * c.cache.headDim;
    one.query += first * qWidth, one.out += first * qWidth;
    one.key += first * kvWidth, one.value += first * kvWidth;
    one.cuTokens = alone, one.positions += first, one.sequences += s;
    one.signalFlags += s, one.attentionBuffers += s;
    one.numSequences = 1, one.numTokens = count;
    kv::pagedAttention(one, kv::serial());
    expect(std::equal(step.out.begin() + first * qWidth,
                      step.out.begin() + (first + count) * qWidth, out.begin() + first * qWidth),
           name + ": a sequence alone gives another result");
  }
}

void testWindowQueries() {
  Case c;
  c.cache.windowSize = 5;
  c.chunk = {3, 12}, c.before = {20, 9}, c.flags = kv::kWindowQueries;
  RandomCache cache(c.cache, 3);
  fillCache(cache, c);
  Step step = makeStep(cache, c);
  std::vector<float> expected = cache.ring;
  const size_t width = size_t(c.cache.numQueryHeads) * c.cache.headDim;
  for (size_t s = 0; s < 2; s++)
    for (int t = std::max(step.cuTokens[s], step.cuTokens[s + 1] - 5); t < step.cuTokens[s + 1];
         t++)
      for (size_t i = 0; i < width; i++)
        expected[((step.sequences[s] * 2 + 1) * 5 + step.positions[t] % 5) * width + i] =
            step.query[t * width + i];
  kv::pagedAttention(step.call(cache, c, 1), kv::serial());
  expect(cache.ring == expected, "window queries");
}

void testErrors() {
  Case c;
  c.chunk = {2}, c.before = {10};
  RandomCache cache(c.cache, 3);
  fillCache(cache, c);
  Step step = makeStep(cache, c);
  kv::PagedAttentionCall call = step.call(cache, c, 1);
  expect(!kv::checkPagedAttention(call), "a good call");
  call.layer = 2;
  expect(kv::checkPagedAttention(call), "a layer that does not exist");
  call.layer = 1;
  step.flags[0] = kv::kWindowQueries;
  expect(kv::checkPagedAttention(call), "no ring");
  step.flags[0] = 0;
  cache.lengths[1 * 2] = 1;
  expect(kv::checkPagedAttention(call), "tokens that were not appended");
}

}  // namespace

void testPagedAttention(const std::string& isa) {
  ThreadPool pool(3);
  const std::vector<std::vector<int>> chunks = {{1}, {1, 1, 1}, {7}, {3, 1, 30}, {100}, {40, 2, 0}};
  int index = 0;
  for (int group : {1, 2, 4})
    for (int blockSize : {8, 16, 32, 7})
      for (int dtype : {kv::kF32, kv::kF16})
        for (const auto& chunk : chunks) {
          Case c;
          const int dims[] = {64, 8, 16, 24, 32, 80, 96, 128, 20, 13};
          c.cache.headDim = dims[index % 10];
          c.cache.numKvHeads = group == 4 ? 1 : 2;
          c.cache.numQueryHeads = group * c.cache.numKvHeads;
          c.cache.blockSize = blockSize, c.cache.dtype = dtype, c.cache.maxLength = 900;
          c.chunk = chunk;
          c.before = std::vector<int>{index % 3 == 0 ? 0 : 130, 700, 3};
          c.before.resize(chunk.size());
          if (index % 4 == 1) c.slidingWindow = 50;
          if (index % 5 == 2) c.softcap = 5;
          if (index % 3 == 1) c.flags = 2, c.buffer = index % 7 == 0 ? 4 : 0;
          if (index % 3 == 2) c.flags = 6, c.buffer = index % 2;
          runCase(c, isa + " attention case " + std::to_string(index++), pool);
        }
  Case longRows;  // many splits, both kinds of kernel
  longRows.cache.maxLength = 9700, longRows.cache.numLayers = 1, longRows.cache.maxSequences = 2;
  longRows.before = {9500, 5000}, longRows.chunk = {20, 1}, longRows.flags = 6;
  runCase(longRows, isa + " long rows", pool);
  longRows.chunk = {200, 1}, longRows.slidingWindow = 4000, longRows.before = {5000, 9000};
  runCase(longRows, isa + " long rows in a window", pool);
  testWindowQueries();
  testErrors();
}
