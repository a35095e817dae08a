// The kernels of scores by statistics, sketches and trained weights as ops; see kernel-ops.h.
#pragma once
#include "kernel-ops.h"

namespace kv::ort {

struct NormSharesOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "NormShares";
  // handle, integers, floats; rowIndptr, sequences, layers
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32, kInt32};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct KeyProjectionOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "KeyProjection";
  // handle, integers, floats; rowIndptr, sequences, layers, directions
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32, kInt32, kFloat};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct KeyLeverageOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "KeyLeverage";
  // handle, integers, floats; rowIndptr, sequences, layers, nextPositions, table begins, halves and
  // scales, cos, sin, sketches
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32, kInt32, kInt32,
                                    kInt32, kInt32, kFloat, kFloat,  kFloat, kFloat};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct CapacityScoreOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "CapacityScore";
  // handle, integers, floats; rowIndptr, sequences, layers, anchors
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32, kInt32, kInt32, kFloat};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct GaussianAttentionOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "GaussianAttention";
  // handle, integers, floats; rowIndptr, sequences, layers, means, covariances
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kUint32,
                                    kInt32, kInt32, kFloat, kFloat};
  static constexpr Type outputs[] = {kFloat};  // scores
  void compute(Context& context) const;
};

struct QueryMomentsOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "QueryMoments";
  // handle, integers, floats; rows, means, deviations
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kFloat, kFloat, kFloat};
  static constexpr Type outputs[] = {kFloat, kFloat};  // means, deviations
  void compute(Context& context) const;
};

struct ChunkAttentionOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "ChunkAttention";
  // handle, integers, floats; queries
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kFloat};
  static constexpr Type outputs[] = {kFloat};  // attention received, [numKvHeads, numQueries]
  void compute(Context& context) const;
};

struct LinearRowsOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "LinearRows";
  // handle, integers, floats; input, weight, bias
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kFloat, kFloat, kFloat};
  static constexpr Type outputs[] = {kFloat};
  void compute(Context& context) const;
};

struct RetentionGateOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "RetentionGate";
  // handle, integers, floats; queries, keys, queryNorm, keyNorm, baseKeys, bias
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kFloat, kFloat,
                                    kFloat, kFloat, kFloat, kFloat};
  static constexpr Type outputs[] = {kFloat};  // gates, [heads, numTokens]
  void compute(Context& context) const;
};

struct GeluOp : StatelessOp {
  using StatelessOp::StatelessOp;
  static constexpr const char* name = "Gelu";
  // handle, integers, floats; values
  static constexpr Type inputs[] = {kInt64, kInt64, kFloat, kFloat};
  static constexpr Type outputs[] = {kFloat};
  void compute(Context& context) const;
};

}  // namespace kv::ort
