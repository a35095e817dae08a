// Handles of caches, so that graphs can name one by an int64 input. A handle holds a generation:
// after release it is refused forever, also when its place in the table is used again.
#pragma once
#include "kv-cache.h"

int64_t kv_cache_register(const KvCache& cache);  // never 0
KvCache* kv_cache_lookup(int64_t handle);         // nullptr when released or unknown
void kv_cache_release(int64_t handle);
