// Compiled once per instruction set: a tile of rows through a packed weight, and GELU.
#include "linear-rows.h"
#include "row-products.h"
#include "scratch.h"

namespace kv::KV_ISA {
namespace {

constexpr int kRows = 64;

size_t panelFloats(const LinearRowsCall& call) {
  return size_t(panelsOf(call.outputs)) * call.inputs * kPanel;
}

void pack(const LinearRowsCall& call, float* panels) {
  packPanels(call.weight, call.outputs, call.inputs, call.inputs, panels);
}

void run(const LinearRowsCall& call, const float* panels, int32_t firstRow) {
  const int left = call.numRows - firstRow, count = left < kRows ? left : kRows;
  const size_t inputs = call.inputs;
  float* rows = scratchFloats(size_t(kRows) * (inputs + kPanel));
  float* lines = rows + size_t(kRows) * inputs;
  std::memcpy(rows, call.input + firstRow * inputs, size_t(count) * inputs * 4);
  std::memset(rows + size_t(count) * inputs, 0, size_t(kRows - count) * inputs * 4);
  forEachProduct(rows, count, call.inputs, panels, call.outputs, lines, [&](int panel, auto) {
    const int first = panel * kPanel;
    const int n = call.outputs - first < kPanel ? call.outputs - first : kPanel;
    for (int j = 0; j < count; j++) {
      float* out = call.out + (size_t(firstRow) + j) * call.outputs + first;
      for (int o = 0; o < n; o++)
        out[o] = lines[size_t(j) * kPanel + o] + (call.bias ? call.bias[first + o] : 0);
    }
  });
}

// Φ(x), the standard normal distribution. Abramowitz and Stegun 1964, 7.1.26.
KV_INLINE F normalDistribution(F x) {
  const I negative = x < F{};
  const F z = where(negative, -x, x) * 0.70710678f;
  const F t = 1.f / (0.3275911f * z + 1.f);
  F series = splat(1.061405429f);
  series = series * t - 1.453152027f;
  series = series * t + 1.421413741f;
  series = series * t - 0.284496736f;
  series = series * t + 0.254829592f;
  const F tail = series * t * exp2(z * z * -1.44269504f) * 0.5f;
  return where(negative, tail, 1.f - tail);
}

void gelu(float* values, size_t count) {
  size_t i = 0;
  for (; i + W <= count; i += W)
    store(values + i, load(values + i) * normalDistribution(load(values + i)));
  if (i == count) return;
  float rest[W] = {};
  std::memcpy(rest, values + i, (count - i) * 4);
  store(rest, load(rest) * normalDistribution(load(rest)));
  std::memcpy(values + i, rest, (count - i) * 4);
}

}  // namespace

extern const LinearKernels linearKernels = {kRows, panelFloats, pack, run, gelu};

}  // namespace kv::KV_ISA
