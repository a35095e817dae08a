// The kernels of Encoder.run as ops: their inputs and integers, in the order of Kernel.native.
#pragma once
#include "custom-op.h"

namespace kv::ort {

struct StatelessOp {
  explicit StatelessOp(const Attributes&) {}
};

struct KeyNormOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "KeyNorm";
  // handle, integers, floats; rowIndptr, sequences, layers
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct WindowScoreOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "WindowScore";
  // handle, integers, floats; rowIndptr, sequences, layers, nextPositions, windowLengths
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32,
                                    kInt32, kInt32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct TopKOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "TopK";
  // handle, integers, floats; rowIndptr, scores, counts, indptr
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kFloat, kUint32, kUint32};
  static constexpr Type outputs[] = {kUint32};  // indices
  void compute(Context& context) const;
};

struct CompactOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "Compact";
  // handle, integers, floats; moves
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kInt32};
  static constexpr Type outputs[] = {kInt32};  // number of moves made
  void compute(Context& context) const;
};

}  // namespace kv::ort
