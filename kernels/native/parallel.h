// Parallel loops without a thread pool of our own: the caller lends one.
#pragma once
#include <cstddef>

namespace kv {

struct ParallelFor {
  // Calls body(data, i) for every i < total, in any order, on any thread; returns when all are
  // done.
  void (*run)(void* pool, void (*body)(void* data, size_t i), size_t total, void* data);
  void* pool;

  template <class F>
  void operator()(size_t total, const F& f) const {
    if (total == 1) return f(size_t(0));
    const auto call = [](void* data, size_t i) { (*static_cast<const F*>(data))(i); };
    if (total > 1) run(pool, call, total, const_cast<F*>(&f));
  }
};

// Everything on the calling thread.
inline ParallelFor serial() {
  return {[](void*, void (*body)(void*, size_t), size_t total, void* data) {
            for (size_t i = 0; i < total; i++) body(data, i);
          },
          nullptr};
}

}  // namespace kv
