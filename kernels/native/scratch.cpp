#include "scratch.h"

#include <cstdint>
#include <cstdlib>
#include <new>

namespace kv {
namespace {

struct Buffer {
  float* floats = nullptr;
  size_t count = 0;
  ~Buffer() { std::free(floats); }
};

}  // namespace

float* scratchFloats(size_t count) {
  thread_local Buffer buffer;
  if (count > buffer.count) {
    const size_t bytes = (count * sizeof(float) + 4095) / 4096 * 4096;
    std::free(buffer.floats);
    buffer.count = 0;
    buffer.floats = static_cast<float*>(std::aligned_alloc(64, bytes));
    if (!buffer.floats) throw std::bad_alloc();
    buffer.count = bytes / sizeof(float);
  }
  return buffer.floats;
}

}  // namespace kv
