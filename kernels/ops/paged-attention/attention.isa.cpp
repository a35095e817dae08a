// Compiled once per instruction set: the table of attention kernels.
#include "add-sums.h"
#include "attend-panels.h"
#include "attend-rows.h"
#include "half.h"

namespace kv::KV_ISA {

static void toHalf(const float* numbers, size_t count, uint16_t* halves) {
  size_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= count; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(halves + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(numbers + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < count; i++) halves[i] = floatToHalf(numbers[i]);
}

extern const AttentionKernels attentionKernels = {attendRows, attendPanels, addSumsOfRows,
                                                  addSumsOfPanels, toHalf};

}  // namespace kv::KV_ISA
