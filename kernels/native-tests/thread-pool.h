// A small pool for tests and benchmarks; in production the session's own pool is lent.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel.h"

class ThreadPool {
 public:
  explicit ThreadPool(int threads) {
    for (int i = 1; i < threads; i++) workers_.emplace_back([this] { work(); });
  }
  ~ThreadPool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  kv::ParallelFor parallelFor() {
    return {[](void* pool, void (*body)(void*, size_t), size_t total, void* data) {
              static_cast<ThreadPool*>(pool)->run(body, total, data);
            },
            this};
  }

 private:
  void run(void (*body)(void*, size_t), size_t total, void* data) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      body_ = body, total_ = total, data_ = data, next_ = 0;
      busy_ = int(workers_.size());
      epoch_++;
    }
    wake_.notify_all();
    drain(body, total, data);
    while (busy_.load() > 0) std::this_thread::yield();
  }

  void drain(void (*body)(void*, size_t), size_t total, void* data) {
    for (size_t i; (i = next_.fetch_add(1)) < total;) body(data, i);
  }

  void work() {
    for (int seen = 0;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || epoch_ != seen; });
      if (stop_) return;
      seen = epoch_;
      const auto body = body_;
      const size_t total = total_;
      void* data = data_;
      lock.unlock();
      drain(body, total, data);
      busy_--;
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  int epoch_ = 0;
  std::atomic<int> busy_{0};
  std::atomic<size_t> next_{0};
  void (*body_)(void*, size_t) = nullptr;
  size_t total_ = 0;
  void* data_ = nullptr;
};
