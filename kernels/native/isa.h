// Hot files (*.isa.cpp) are compiled once per instruction set, each time into its own namespace;
// the fastest one that the processor can run is chosen when the library is first used.
#pragma once

namespace kv {

enum class Isa { baseline, avx2, avx512 };

// What this process uses: the best available, or the lower one that KVCACHE_ISA names
// (baseline, avx2 or avx512).
Isa isa();

// Whether the library has code for it and the processor can run it.
bool isaAvailable(Isa candidate);

// For tests: overrides the choice. Not safe while kernels run.
void setIsa(Isa choice);

// Picks the variant of a function (or table of functions) that fits the chosen instruction set.
template <class T>
const T& byIsa(const T& baseline, const T& avx2, const T& avx512) {
  const Isa choice = isa();
  return choice == Isa::avx512 ? avx512 : choice == Isa::avx2 ? avx2 : baseline;
}

}  // namespace kv

// Declares `const Type name` for every instruction set and `name()`, which picks.
#ifdef KVCACHE_X86_VARIANTS
#define KV_DECLARE_VARIANTS(Type, name) \
  namespace baseline {                  \
  extern const Type name;               \
  }                                     \
  namespace avx2 {                      \
  extern const Type name;               \
  }                                     \
  namespace avx512 {                    \
  extern const Type name;               \
  }                                     \
  static inline const Type& name() { return byIsa(baseline::name, avx2::name, avx512::name); }
#else
#define KV_DECLARE_VARIANTS(Type, name) \
  namespace baseline {                  \
  extern const Type name;               \
  }                                     \
  static inline const Type& name() { return baseline::name; }
#endif
