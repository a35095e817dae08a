// Vectors of the instruction set that a *.isa.cpp file is being compiled for. Built on the
// compilers' vector extensions, so that the same kernels serve SSE2, AVX2, AVX-512 and other
// architectures. Everything here has internal linkage: code of one instruction set must never be
// picked by the linker for another.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define KV_INLINE static inline __attribute__((always_inline))

namespace kv::KV_ISA {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

typedef float F __attribute__((vector_size(W * 4)));
typedef int32_t I __attribute__((vector_size(W * 4)));
typedef uint32_t U __attribute__((vector_size(W * 4)));
typedef float F4 __attribute__((vector_size(16)));
typedef float UnalignedF __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef int32_t UnalignedI __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef float UnalignedF4 __attribute__((vector_size(16), aligned(4), may_alias));

constexpr float kLog2E = 1.44269504f;
// A running softmax's maximum before its first logit: above −∞, so that masked logits give weight 0.
constexpr float kNoMaximum = -1e20f;

KV_INLINE F load(const float* p) { return *reinterpret_cast<const UnalignedF*>(p); }
KV_INLINE I load(const int32_t* p) { return *reinterpret_cast<const UnalignedI*>(p); }
KV_INLINE void store(float* p, F v) { *reinterpret_cast<UnalignedF*>(p) = v; }
KV_INLINE void store4(float* p, F4 v) { *reinterpret_cast<UnalignedF4*>(p) = v; }
KV_INLINE F splat(float x) { return x - F{}; }
KV_INLINE I splat(int32_t x) { return x - I{}; }
// The larger (smaller) one, or b where one is not a number.
KV_INLINE F max(F a, F b) {
#if defined(__AVX512F__)
  return _mm512_max_ps(a, b);
#elif defined(__AVX__)
  return _mm256_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}
KV_INLINE F min(F a, F b) { return a < b ? a : b; }
KV_INLINE F where(I condition, F yes, F no) { return condition ? yes : no; }

// W half-precision numbers as floats.
KV_INLINE F load(const uint16_t* p) {
#if defined(__AVX512F__)
  return F(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__AVX2__) && defined(__F16C__)
  return F(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  typedef uint16_t H __attribute__((vector_size(W * 2), aligned(2), may_alias));
  const U half = __builtin_convertvector(*reinterpret_cast<const H*>(p), U);
  const U magnitude = half & 0x7fff;
  // 2^112 moves the exponent's bias, subnormal halves included; infinity and NaN are put right.
  U bits = U(F(magnitude << 13) * 0x1p112f);
  bits = magnitude >= 0x7c00 ? (magnitude << 13 | 0x7f800000) : bits;
  return F(bits | (half & 0x8000) << 16);
#endif
}

// a[0] + … + a[W − 1] of four vectors, as four floats.
KV_INLINE F4 sum4(F4 a, F4 b, F4 c, F4 d) {
  const F4 ab =
      __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
  const F4 cd =
      __builtin_shufflevector(c, d, 0, 2, 4, 6) + __builtin_shufflevector(c, d, 1, 3, 5, 7);
  return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}
#if defined(__AVX2__)
typedef float F8 __attribute__((vector_size(32)));
KV_INLINE F8 addPairs(F8 a, F8 b) {  // within 128-bit halves, which shuffles cross slowly
  return __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14) +
         __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
}
KV_INLINE F4 sum4(F8 a, F8 b, F8 c, F8 d) {
  const F8 sums = addPairs(addPairs(a, b), addPairs(c, d));
  return __builtin_shufflevector(sums, sums, 0, 1, 2, 3) +
         __builtin_shufflevector(sums, sums, 4, 5, 6, 7);
}
#endif
#if defined(__AVX512F__)
KV_INLINE F8 fold(F a) {
  return __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7) +
         __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15);
}
KV_INLINE F4 sum4(F a, F b, F c, F d) { return sum4(fold(a), fold(b), fold(c), fold(d)); }
#endif
KV_INLINE float sum(F a) {
  float total = 0;
  for (int i = 0; i < W; i++) total += a[i];
  return total;
}
KV_INLINE float maxOf(F a) {
  float largest = a[0];
  for (int i = 1; i < W; i++) largest = a[i] > largest ? a[i] : largest;
  return largest;
}

// 2^x = scale × (1 + rest) for x in [−127, 126]; at −127 the scale is 0.
struct Exp2 {
  F scale, rest;
};
KV_INLINE Exp2 exp2Parts(F x) {
  const F shifted = x + 12582912.f;  // 1.5 · 2^23: rounds x to an integer, kept in the low bits
  const F f = x - (shifted - 12582912.f);
  // Minimax of (2^f − 1) / f on [−0.5, 0.5]: relative error of 2^f below 1.1e-7.
  F p = splat(0.00132647261f);
  p = p * f + 0.00967151299f;
  p = p * f + 0.0555073358f;
  p = p * f + 0.240222424f;
  p = p * f + 0.693147004f;
  return {F((U(shifted) << 23) + (127u << 23)), p * f};
}
// 2^x for x ≤ 126; exactly 0 below −127, exactly 1 at 0.
KV_INLINE F exp2(F x) {
  const Exp2 e = exp2Parts(max(splat(-127.f), x));
  return e.scale * e.rest + e.scale;
}
// tanh(x · ln 2 / 2), accurate also near 0.
KV_INLINE F tanhHalfLn2(F x) {
  const Exp2 e = exp2Parts(max(min(x, splat(30.f)), splat(-30.f)));
  const F minusOne = e.scale * e.rest + (e.scale - 1.f);
  return minusOne / (minusOne + 2.f);
}

}  // namespace kv::KV_ISA
