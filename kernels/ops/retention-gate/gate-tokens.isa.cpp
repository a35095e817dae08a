// Compiled once per instruction set: gates of some tokens of one head. Base keys lie along the
// lanes.
#include <cmath>
#include <cstring>

#include "panel.h"
#include "retention-gate.h"
#include "scratch.h"

namespace kv::KV_ISA {
namespace {

// RMS norm of x [width], times weights and a factor.
void normed(const float* x, const float* weights, int width, float epsilon, float factor,
            float* out) {
  float squares = 0;
  for (int c = 0; c < width; c++) squares += x[c] * x[c];
  const float scale = factor / std::sqrt(squares / width + epsilon);
  for (int c = 0; c < width; c++) out[c] = x[c] * scale * weights[c];
}

void gate(const RetentionGateCall& call, int32_t head, int32_t first, int32_t count) {
  const int width = call.width, lanes = roundUp(call.numBaseKeys, W);
  float* base = scratchFloats(size_t(lanes) * (width + 1) + 2 * size_t(width));
  float* used = base + size_t(lanes) * width;
  float* key = used + lanes;
  float* query = key + width;
  for (int m = 0; m < lanes; m++) {
    used[m] = m < call.numBaseKeys;
    const float* from = call.baseKeys + (size_t(head) * call.numBaseKeys + m) * width;
    for (int c = 0; c < width; c++)
      base[size_t(c) * lanes + m] = m < call.numBaseKeys ? from[c] : 0;
  }
  const float scale = kLog2E / std::sqrt(float(width));
  for (int i = first; i < first + count; i++) {
    normed(call.keys + (size_t(i) * call.heads + head) * width, call.keyNorm, width,
           call.normEpsilon, 1, key);
    float total = 0;
    for (int g = 0; g < call.group; g++) {
      const size_t at = ((size_t(i) * call.heads + head) * call.group + g) * width;
      normed(call.queries + at, call.queryNorm, width, call.normEpsilon, scale, query);
      float own = call.bias[head * call.group + g] * kLog2E;
      for (int c = 0; c < width; c++) own += query[c] * key[c];
      F others = {};
      for (int m = 0; m < lanes; m += W) {
        F logit = splat(-own);
        for (int c = 0; c < width; c++) logit += query[c] * load(base + size_t(c) * lanes + m);
        others += exp2(min(logit, splat(126.f))) * load(used + m);
      }
      total += 1 / (1 + sum(others));
    }
    call.out[size_t(head) * call.numTokens + i] = total / float(call.group);
  }
}

}  // namespace

extern const GateTokens gateTokens = gate;

}  // namespace kv::KV_ISA
