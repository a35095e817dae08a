#pragma once
#include "custom-op.h"

namespace kv::ort {

struct RopeOp {
  static constexpr const char* name = "Rope";
  static constexpr Type inputs[] = {kFloat, kFloat, kFloat};  // x, cos, sin
  static constexpr Type outputs[] = {kFloat};

  explicit RopeOp(const Attributes& attributes) : numHeads_(attributes.integer("num_heads")) {}
  void compute(Context& context) const;

 private:
  int64_t numHeads_;
};

}  // namespace kv::ort
