// Compiled once per instruction set: expected attention to the keys of one row.
#include <cmath>
#include <vector>

#include "gaussian-attention.h"
#include "row-products.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {
namespace {

// logits[j] = k_j·mean + k_jᵀ covariance k_j = k_j·(mean + covariance k_j). Keys lie a multiple of
// kPanel apart, so that a line of products meets the numbers of its own key.
void logitsOf(const GaussianRow& r, int member, int stride, float* scratch, float* logits) {
  const int d = r.headDim, length = r.row.length;
  float* keys = scratch;
  float* mean = keys + size_t(kTile) * stride;
  float* packed = mean + stride;
  float* lines = packed + size_t(panelsOf(d)) * stride * kPanel;
  std::memset(mean, 0, size_t(stride) * 4);
  std::memcpy(mean, r.means + size_t(member) * d, size_t(d) * 4);
  if (r.covariances) packPanels(r.covariances + size_t(member) * d * d, d, d, stride, packed);
  for (int begin = 0; begin < length; begin += kTile) {
    const int count = length - begin < kTile ? length - begin : kTile;
    float* out = logits + begin;
    std::memset(out, 0, size_t(count) * 4);
    loadKeys(r.row, begin, count, stride, keys);
    if (!r.covariances) {
      for (int j = 0; j < count; j++) {
        F dot = {};
        for (int c = 0; c < stride; c += W)
          dot += load(keys + size_t(j) * stride + c) * load(mean + c);
        out[j] = sum(dot);
      }
      continue;
    }
    forEachProduct(keys, count, stride, packed, d, lines, [&](int panel, auto vectors) {
      for (int j = 0; j < count; j++) {
        F dot = {};
        for (int v = 0; v < decltype(vectors)::value; v++) {
          const int c = panel * kPanel + v * W;
          dot += load(keys + size_t(j) * stride + c) *
                 (load(mean + c) + load(lines + size_t(j) * kPanel + v * W));
        }
        out[j] += sum(dot);
      }
    });
  }
}

void expected(const GaussianRow& r) {
  const int d = r.headDim, length = r.row.length, stride = roundUp(d, kPanel);
  float* scratch = scratchFloats(size_t(kTile) * stride + stride +
                                 size_t(panelsOf(d)) * stride * kPanel + size_t(kTile) * kPanel);
  std::vector<int32_t> positions(length);
  loadPositions(r.row, 0, length, positions.data());
  std::vector<float> logits(length);
  for (int j = 0; j < length; j++) r.scores[j] = 0;
  for (int member = 0; member < r.group; member++) {
    logitsOf(r, member, stride, scratch, logits.data());
    float highest = -__builtin_inff();
    for (int j = 0; j < length; j++)
      if (positions[j] >= r.sinks) highest = std::fmax(highest, logits[j]);
    double total = 0;
    for (int j = 0; j < length; j++) {
      logits[j] = positions[j] >= r.sinks ? std::exp(logits[j] - highest) : 0;
      total += logits[j];
    }
    const float factor = total > 0 ? float(1 / (total * r.group)) : 0;
    for (int j = 0; j < length; j++) r.scores[j] += logits[j] * factor;
  }
  for (int begin = 0; r.valueNorm && begin < length; begin += kTile) {
    const int count = length - begin < kTile ? length - begin : kTile;
    loadValues(r.row, begin, count, stride, scratch);
    for (int j = 0; j < count; j++) {
      F squares = {};
      for (int c = 0; c < stride; c += W) {
        const F x = load(scratch + size_t(j) * stride + c);
        squares += x * x;
      }
      r.scores[begin + j] = (r.scores[begin + j] + r.epsilon) * std::sqrt(sum(squares));
    }
  }
  for (int j = 0; j < length; j++)
    if (positions[j] < r.sinks) r.scores[j] = __builtin_inff();
}

}  // namespace

extern const GaussianOfRow gaussianOfRow = expected;

}  // namespace kv::KV_ISA
