// Micro benchmark: kvcache_native_benchmark [threads]. Paged attention of a model with 6 query
// heads, 3 KV heads and headDim 64, cycling over layers so that the cache comes from memory.
#include <chrono>
#include <cstdlib>

#include "check.h"
#include "isa.h"
#include "paged-attention.h"
#include "random-cache.h"
#include "thread-pool.h"

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

void benchAttention(int context, int tokens, int dtype, int flags, ThreadPool& pool) {
  CacheOptions o;
  o.numLayers = context > 8000 ? 4 : 12, o.numQueryHeads = 6, o.numKvHeads = 3, o.maxSequences = 1;
  o.maxLength = context, o.dtype = dtype;
  RandomCache cache(o, 1);
  for (size_t i = 0; i < cache.positions.size(); i++) cache.positions[i] = int(i % context);
  uint16_t* halves = reinterpret_cast<uint16_t*>(cache.storage.data());
  float* floats = reinterpret_cast<float*>(cache.storage.data());
  for (size_t i = 0; i < cache.storage.size() / (dtype == kv::kF16 ? 2 : 4); i++) {
    const float x = float(int(i * 2654435761u >> 16 & 1023)) / 512 - 1;
    if (dtype == kv::kF16) halves[i] = kv::floatToHalf(x);
    else floats[i] = x;
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
    kv::pagedAttention({&cache.view, query.data(), key.data(), key.data(), out.data(), cuTokens,
                        positions.data(), &sequence, &flags, &buffer, 1, tokens, i % o.numLayers, 0,
                        0.125f, 0},
                       parallelFor);
  });
  const double pairs = double(tokens) * context - double(tokens) * (tokens - 1) / 2;
  const double flops = pairs * 6 * 64 * 4, bytes = double(context) * 3 * 64 * 2 * (dtype ? 2 : 4);
  std::printf("%-7s context %5d, %3d tokens, %s%s: %8.3f ms (median %8.3f)  %6.1f GB/s  %6.1f GFLOP/s\n",
              tokens > 1 ? "prefill" : "decode", context, tokens, dtype ? "f16" : "f32",
              flags ? ", sums" : "", t.best * 1e3, t.median * 1e3, bytes / t.best / 1e9,
              flops / t.best / 1e9);
}

// What the machine can do: reading memory, and chains of fused multiply-adds.
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
  for (int context : {4096, 16384})
    for (int dtype : {kv::kF32, kv::kF16}) {
      benchAttention(context, 1, dtype, 0, pool);
      benchAttention(context, 512, dtype, 0, pool);
    }
  benchAttention(16384, 1, kv::kF16, 6, pool);
  benchAttention(4096, 512, kv::kF16, 6, pool);
}
