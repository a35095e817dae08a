#include "isa.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace kv {
namespace {

Isa choose() {
  const char* wanted = std::getenv("KVCACHE_ISA");
  if (wanted && !std::strcmp(wanted, "baseline")) return Isa::baseline;
  const bool low = wanted && !std::strcmp(wanted, "avx2");
  if (!low && isaAvailable(Isa::avx512)) return Isa::avx512;
  return isaAvailable(Isa::avx2) ? Isa::avx2 : Isa::baseline;
}

std::atomic<int> override{-1};

}  // namespace

bool isaAvailable(Isa candidate) {
#ifdef KVCACHE_X86_VARIANTS
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (candidate == Isa::avx2) return avx2;
  if (candidate == Isa::avx512) return avx2 && __builtin_cpu_supports("avx512f");
#endif
  return candidate == Isa::baseline;
}

Isa isa() {
  static const Isa best = choose();
  const int forced = override.load(std::memory_order_relaxed);
  return forced < 0 ? best : Isa(forced);
}

void setIsa(Isa choice) { override = int(choice); }

}  // namespace kv
