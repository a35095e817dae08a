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

struct KeyDiffOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "KeyDiff";
  // handle, integers, floats; rowIndptr, sequences, layers
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct LagSpreadOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "LagSpread";
  // handle, integers, floats; rowIndptr, sequences, layers
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct NearestKeptOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "NearestKept";
  // handle, integers, floats; rowIndptr, sequences, layers, kept indptr, kept indices
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32, kInt32, kUint32, kUint32};
  static constexpr Type outputs[] = {kUint32, kFloat};  // nearest, similarity
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

struct KeyRedundancyOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "KeyRedundancy";
  // handle, integers, floats; rowIndptr, sequences, layers
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct QueryAttentionOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "QueryAttention";
  // handle, integers, floats; queries, factors, seen, table
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kFloat, kFloat, kInt32, kFloat};
  static constexpr Type outputs[] = {kFloat};  // table
  void compute(Context& context) const;
};

struct WindowSumsOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "WindowSums";
  // handle, integers, floats; rowIndptr, sequences, layers, nextPositions, windowLengths
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32,
                                    kInt32, kInt32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};  // sums
  void compute(Context& context) const;
};

struct AttentionSpreadOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "AttentionSpread";
  // as WindowSums
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32,
                                    kInt32, kInt32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat, kFloat};  // dispersion, shift
  void compute(Context& context) const;
};

struct WindowImportanceOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "WindowImportance";
  // as WindowSums
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32,
                                    kInt32, kInt32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct SpreadScoreOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "SpreadScore";
  // as WindowSums
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32,
                                    kInt32, kInt32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct DefensiveScoreOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "DefensiveScore";
  // as WindowSums; firstStageLimits, norms
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32,
                                    kInt32, kInt32, kInt32, kInt32,  kFloat};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct ProjectedValueNormOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "ProjectedValueNorm";
  // handle, integers, floats; rowIndptr, sequences, layers, weight, norms
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32,
                                    kInt32, kInt32, kFloat, kFloat};
  static constexpr Type outputs[] = {kFloat};  // norms
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

struct BlockScheduleOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "BlockSchedule";
  // handle, integers, floats; rowIndptr, scores, wanted
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kFloat, kUint32};
  static constexpr Type outputs[] = {kUint32};  // counts
  void compute(Context& context) const;
};

struct DrawTokensOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "DrawTokens";
  // handle, integers, floats; logits, settings
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kFloat, kUint32};
  static constexpr Type outputs[] = {kInt32};  // tokens
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
