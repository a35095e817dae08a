#pragma once
#include "custom-op.h"

namespace kv::ort {

struct PagedAttentionOp {
  static constexpr const char* name = "PagedAttention";
  // query, key, value, handle, cuTokens, positions, sequences, signalFlags, attentionBuffers
  static constexpr Type inputs[] = {kFloat, kFloat, kFloat, kInt64, kInt32,
                                    kInt32, kInt32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};

  explicit PagedAttentionOp(const Attributes& attributes);
  void compute(Context& context) const;

 private:
  int64_t layer_, slidingWindow_;
  float scale_, softcap_;
};

}  // namespace kv::ort
