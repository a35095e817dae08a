#include "paged-attention-op.h"

#include "paged-attention.h"

namespace kv::ort {

PagedAttentionOp::PagedAttentionOp(const Attributes& attributes)
    : layer_(attributes.integer("layer")),
      slidingWindow_(attributes.integer("sliding_window", 0)),
      scale_(attributes.number("scale")),
      softcap_(attributes.number("softcap", 0)) {}

void PagedAttentionOp::compute(Context& context) const {
  const KvCache& cache = context.cache(3);
  const auto query = context.input<float>(0), key = context.input<float>(1),
             value = context.input<float>(2);
  const auto cuTokens = context.input<int32_t>(4), positions = context.input<int32_t>(5),
             sequences = context.input<int32_t>(6), signalFlags = context.input<int32_t>(7),
             attentionBuffers = context.input<int32_t>(8);
  const size_t tokens = positions.size;
  context.require(query.size == tokens * cache.numQueryHeads * cache.headDim,
                  "query must be [T, numQueryHeads * headDim]");
  context.require(key.size == tokens * cache.numKvHeads * cache.headDim && value.size == key.size,
                  "key and value must be [T, numKvHeads * headDim]");
  context.require(cuTokens.size == sequences.size + 1,
                  "cuTokens must have one entry more than sequences");
  context.require(signalFlags.size == sequences.size && attentionBuffers.size == sequences.size,
                  "signalFlags and attentionBuffers must have one entry per sequence");
  float* out = context.output<float>(0, context.shape(0));
  const PagedAttentionCall call{&cache,
                                query.data,
                                key.data,
                                value.data,
                                out,
                                cuTokens.data,
                                positions.data,
                                sequences.data,
                                signalFlags.data,
                                attentionBuffers.data,
                                int32_t(sequences.size),
                                int32_t(tokens),
                                int32_t(layer_),
                                int32_t(slidingWindow_),
                                scale_,
                                softcap_};
  const char* problem = checkPagedAttention(call);
  context.require(!problem, problem ? problem : "");
  pagedAttention(call, context.parallelFor());
}

}  // namespace kv::ort
