#include "rope-op.h"

#include "rope.h"

namespace kv::ort {

void RopeOp::compute(Context& context) const {
  const auto x = context.input<float>(0), cos = context.input<float>(1),
             sin = context.input<float>(2);
  const auto shape = context.shape(0), tables = context.shape(1);
  context.require(shape.size() == 2 && tables.size() == 2,
                  "x, cos and sin must have two dimensions");
  context.require(numHeads_ > 0 && shape[1] % numHeads_ == 0,
                  "the width of x must be a multiple of num_heads");
  const int64_t headDim = shape[1] / numHeads_;
  context.require(tables[0] == shape[0] && sin.size == cos.size && 2 * tables[1] <= headDim,
                  "cos and sin must be [T, r/2] with r at most headDim");
  float* y = context.output<float>(0, shape);
  rope({x.data, cos.data, sin.data, y, size_t(shape[0]), size_t(numHeads_), size_t(headDim),
        size_t(tables[1])},
       context.parallelFor());
}

}  // namespace kv::ort
