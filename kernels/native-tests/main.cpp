#include "check.h"
#include "half.h"
#include "isa.h"
#include "rope.h"

namespace {

// Every half converts to a float and back to itself.
void testHalf() {
  for (uint32_t h = 0; h < 65536; h++) {
    const float f = kv::halfToFloat(uint16_t(h));
    if (!std::isnan(f)) expect(kv::floatToHalf(f) == h, "half " + std::to_string(h));
  }
  expect(kv::floatToHalf(65519.f) == 0x7bff && kv::floatToHalf(65520.f) == 0x7c00, "half overflow");
  expect(kv::floatToHalf(1.00048828125f) == 0x3c00 && kv::floatToHalf(1.00146484375f) == 0x3c02,
         "half ties to even");
}

void testRope() {
  const size_t tokens = 3, heads = 2, d = 10, half = 4;
  std::vector<float> x(tokens * heads * d), cos(tokens * half), sin(tokens * half), y(x.size());
  for (size_t i = 0; i < x.size(); i++) x[i] = float(i % 17) - 8;
  for (size_t i = 0; i < cos.size(); i++) cos[i] = std::cos(float(i)), sin[i] = std::sin(float(i));
  std::vector<double> expected(x.begin(), x.end());
  for (size_t t = 0; t < tokens; t++)
    for (size_t h = 0; h < heads; h++)
      for (size_t i = 0; i < half; i++) {
        const size_t a = (t * heads + h) * d + i, b = a + half;
        const double c = cos[t * half + i], s = sin[t * half + i];
        expected[a] = x[a] * c - x[b] * s;
        expected[b] = x[b] * c + x[a] * s;
      }
  kv::rope({x.data(), cos.data(), sin.data(), y.data(), tokens, heads, d, half}, kv::serial());
  expectClose(y, expected, 1e-6, "rope");
  kv::rope({x.data(), cos.data(), sin.data(), x.data(), tokens, heads, d, half}, kv::serial());
  expect(x == y, "rope in place");
}

}  // namespace

int main() {
  testHalf();
  testRope();
  testSelection();
  const char* names[] = {"baseline", "avx2", "avx512"};
  for (int i = 0; i < 3; i++) {
    if (!kv::isaAvailable(kv::Isa(i))) {
      std::printf("%s: not on this processor, not tested\n", names[i]);
      continue;
    }
    kv::setIsa(kv::Isa(i));
    testPagedAttention(names[i]);
    testWindowScore(names[i]);
    testNearestKept(names[i]);
    testQueryAttention(names[i]);
    testKeyRedundancy(names[i]);
    std::printf("%s: tested\n", names[i]);
  }
  std::printf("%d failures\n", failures());
  return failures() ? 1 : 0;
}
