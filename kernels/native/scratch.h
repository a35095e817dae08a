// Memory of the calling thread for the time of one piece of work; it grows and is reused.
#pragma once
#include <cstddef>

namespace kv {

// At least `count` floats, 64-byte aligned, with undefined contents. A second call invalidates the
// first one's memory.
float* scratchFloats(size_t count);

}  // namespace kv
