#include "cache-registry.h"

#include <deque>
#include <mutex>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

struct Entry {
  KvCache cache;
  uint32_t generation = 1;
  bool live = false;
};

std::mutex mutex;
std::deque<Entry> entries;  // a deque keeps the addresses of entries when it grows

constexpr int64_t kIndexBits = 20;

Entry* find(int64_t handle) {
  const int64_t index = handle & ((int64_t(1) << kIndexBits) - 1);
  if (handle <= 0 || index >= int64_t(entries.size())) return nullptr;
  Entry& entry = entries[index];
  return entry.live && entry.generation == handle >> kIndexBits ? &entry : nullptr;
}

// Blocks are read in scattered order: with huge pages, reading them is a quarter faster.
void adviseHugePages(const KvArena& arena) {
#if defined(__linux__)
  constexpr uintptr_t kPage = 4096;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(arena.storage);
  const uintptr_t end = begin + size_t(arena.numBlocks) * arena.blockSize *
                                    (kv::keyBytes(arena) + kv::valueBytes(arena));
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage, last = end / kPage * kPage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)arena;
#endif
}

}  // namespace

int64_t kv_cache_register(const KvCache& cache) {
  for (int32_t i = 0; i < cache.numArenas; i++)
    if (cache.arenas[i].keyDtype <= 1 && cache.arenas[i].valueDtype <= 1)
      adviseHugePages(cache.arenas[i]);
  std::lock_guard<std::mutex> lock(mutex);
  size_t index = 0;
  while (index < entries.size() && entries[index].live) index++;
  if (index == entries.size()) entries.emplace_back();
  Entry& entry = entries[index];
  entry.cache = cache;
  entry.live = true;
  return int64_t(entry.generation) << kIndexBits | int64_t(index);
}

KvCache* kv_cache_lookup(int64_t handle) {
  std::lock_guard<std::mutex> lock(mutex);
  Entry* entry = find(handle);
  return entry ? &entry->cache : nullptr;
}

void kv_cache_release(int64_t handle) {
  std::lock_guard<std::mutex> lock(mutex);
  if (Entry* entry = find(handle)) {
    entry->live = false;
    entry->generation++;
  }
}
