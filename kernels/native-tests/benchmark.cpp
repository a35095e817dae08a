// Micro benchmark: kvcache_native_benchmark [threads]. Paged attention of a model with 6 query
// heads, 3 KV heads and headDim 64, cycling over layers so that the cache comes from memory.
#include <chrono>
#include <cstdlib>

#include "cache-registry.h"
#include "isa.h"
#include "paged-attention.h"
#include "random-cache.h"
#include "thread-pool.h"
#include "window-score.h"

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Timing {
  double best, median;
};

template <class F>
Timing timed(int rounds, F&& f) {
  std::vector<double> seconds;
  for (int i = 0; i < rounds; i++) {
    const double start = now();
    f(i);
    seconds.push_back(now() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return {seconds[0], seconds[seconds.size() / 2]};
}

// Memory that begins and ends at huge pages.
struct HugePages {
  explicit HugePages(size_t bytes)
      : begin(
            static_cast<uint8_t*>(std::aligned_alloc(kSize, (bytes + kSize - 1) / kSize * kSize))) {
  }
  ~HugePages() { std::free(begin); }
  static constexpr size_t kSize = 2 << 20;
  uint8_t* begin;
};

void benchAttention(int context, int tokens, int dtype, int flags, ThreadPool& pool) {
  CacheOptions o;
  o.numLayers = context > 8000 ? 4 : 12, o.numQueryHeads = 6, o.numKvHeads = 3, o.maxSequences = 1;
  o.maxLength = context, o.dtype = dtype;
  RandomCache cache(o, 1);
  // The registry asks for huge pages, as it does in production.
  const HugePages storage(cache.storage.size());
  cache.view.arenas[0].storage = storage.begin;
  const int64_t handle = kv_cache_register(cache.view);
  for (size_t i = 0; i < cache.positions.size(); i++) cache.positions[i] = int(i % context);
  uint16_t* halves = reinterpret_cast<uint16_t*>(storage.begin);
  float* floats = reinterpret_cast<float*>(storage.begin);
  for (size_t i = 0; i < cache.storage.size() / (dtype == kv::kF16 ? 2 : 4); i++) {
    const float x = float(int(i * 2654435761u >> 16 & 1023)) / 512 - 1;
    if (dtype == kv::kF16)
      halves[i] = kv::floatToHalf(x);
    else
      floats[i] = x;
  }
  std::fill(cache.lengths.begin(), cache.lengths.end(), context);
  const std::vector<float> query = cache.normals(size_t(tokens) * 6 * 64),
                           key = cache.normals(size_t(tokens) * 3 * 64);
  std::vector<float> out(query.size());
  const int32_t cuTokens[] = {0, tokens}, sequence = 0, buffer = 0;
  std::vector<int32_t> positions(tokens);
  for (int i = 0; i < tokens; i++) positions[i] = context - tokens + i;
  const auto parallelFor = pool.parallelFor();
  const int rounds = tokens > 1 ? 12 : 150;
  const Timing t = timed(rounds, [&](int i) {
    kv::pagedAttention(
        {&cache.view, query.data(), key.data(), key.data(), out.data(), cuTokens, positions.data(),
         &sequence, &flags, &buffer, 1, tokens, i % o.numLayers, 0, 0.125f, 0},
        parallelFor);
  });
  const double pairs = double(tokens) * context - double(tokens) * (tokens - 1) / 2;
  const double flops = pairs * 6 * 64 * 4, bytes = double(context) * 3 * 64 * 2 * (dtype ? 2 : 4);
  std::printf(
      "%-7s context %5d, %3d tokens, %s%s: %8.3f ms (median %8.3f)  %6.1f GB/s  %6.1f GFLOP/s\n",
      tokens > 1 ? "prefill" : "decode", context, tokens, dtype ? "f16" : "f32",
      flags ? ", sums" : "", t.best * 1e3, t.median * 1e3, bytes / t.best / 1e9,
      flops / t.best / 1e9);
  kv_cache_release(handle);
}

void benchWindowScore(int context, int window, int dtype, ThreadPool& pool) {
  CacheOptions o;
  o.numLayers = 12, o.numQueryHeads = 6, o.numKvHeads = 3, o.maxSequences = 1;
  o.maxLength = context, o.dtype = dtype, o.windowSize = window;
  RandomCache cache(o, 1);
  for (size_t i = 0; i < cache.positions.size(); i++)
    cache.positions[cache.tables[i / 16] * 16 + i % 16] = int(i % context);
  cache.ring = cache.normals(cache.ring.size());
  cache.view.windowQueries = cache.ring.data();
  std::fill(cache.lengths.begin(), cache.lengths.end(), context);
  std::vector<uint32_t> rowIndptr(12 * 3 + 1);
  for (size_t i = 0; i < rowIndptr.size(); i++) rowIndptr[i] = uint32_t(i * context);
  const int32_t sequence = 0, next = context, layers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  std::vector<float> scores(rowIndptr.back());
  const kv::WindowScoreCall call{{&cache.view, rowIndptr.data(), &sequence, layers, 1, 12},
                                 &next,
                                 &window,
                                 window,
                                 1,
                                 0,
                                 kv::Pool::average,
                                 5,
                                 kv::RowReduce::mean,
                                 kv::GroupReduce::mean,
                                 false,
                                 false,
                                 0,
                                 true,
                                 0.125f,
                                 scores.data()};
  const Timing t = timed(6, [&](int) { kv::windowScore(call, pool.parallelFor()); });
  const double flops = double(context) * window * 12 * 6 * 64 * 2;
  std::printf(
      "window score, context %5d, %2d queries, %s: %8.3f ms for 12 layers (median %8.3f)  %6.1f "
      "GFLOP/s\n",
      context, window, dtype ? "f16" : "f32", t.best * 1e3, t.median * 1e3, flops / t.best / 1e9);
}

// What the machine can do at best when reading memory.
void benchMachine(ThreadPool& pool, int threads) {
  std::vector<uint64_t> memory(32 << 20, 1);
  std::vector<uint64_t> sums(threads);
  const Timing t = timed(5, [&](int) {
    pool.parallelFor()(threads, [&](size_t i) {
      const size_t part = memory.size() / threads;
      uint64_t total = 0;
      for (size_t j = i * part; j < (i + 1) * part; j++) total += memory[j];
      sums[i] = total;
    });
  });
  std::printf("reading 256 MiB: %.1f GB/s\n", memory.size() * 8 / t.best / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  ThreadPool pool(threads);
  const char* names[] = {"baseline", "avx2", "avx512"};
  std::printf("%s, %d threads\n", names[int(kv::isa())], threads);
  benchMachine(pool, threads);
  for (int context : {128, 4096, 16384})
    for (int dtype : {kv::kF32, kv::kF16}) {
      benchAttention(context, 1, dtype, 0, pool);
      if (context > 512) benchAttention(context, 512, dtype, 0, pool);
    }
  benchAttention(16384, 1, kv::kF16, 6, pool);
  benchAttention(4096, 512, kv::kF16, 6, pool);
  for (int window : {32, 64})
    for (int context : {4096, 16384}) benchWindowScore(context, window, kv::kF16, pool);
}
