// Ops that Encoder.run calls through Kernel.native: inputs are handle i64 [1] (0 = no cache),
// integers i64, floats f32, then the kernel's own; the first integers are the outputs' lengths.
#pragma once
#include "batch-rows.h"
#include "custom-op.h"

namespace kv::ort {

class NativeCall {
 public:
  NativeCall(Context& context, size_t numOutputs, size_t numIntegers, size_t numFloats)
      : context_(context),
        numOutputs_(numOutputs),
        integers_(context.input<int64_t>(1)),
        floats_(context.input<float>(2)) {
    context.require(integers_.size >= numOutputs + numIntegers,
                    "expected " + std::to_string(numOutputs + numIntegers) + " integers, got " +
                        std::to_string(integers_.size));
    context.require(floats_.size >= numFloats, "expected " + std::to_string(numFloats) + " floats");
    for (size_t i = 0; i < numOutputs; i++)
      context.require(integers_[i] >= 0, "an output's length is negative");
  }

  const KvCache& cache() const { return context_.cache(0); }
  // The kernel's own integer i.
  int32_t integer(size_t i) const {
    const int64_t value = integers_[numOutputs_ + i];
    context_.require(value == int32_t(value), "an integer does not fit 32 bits");
    return int32_t(value);
  }
  float number(size_t i) const { return floats_[i]; }

  // The kernel's own input i; throws unless it has `size` elements.
  template <class T>
  const T* input(size_t i, size_t size) const {
    const Span<const T> span = context_.input<T>(3 + i);
    context_.require(span.size == size, "input " + std::to_string(3 + i) + " must have " +
                                            std::to_string(size) + " elements, got " +
                                            std::to_string(span.size));
    return span.data;
  }
  template <class T>
  Span<const T> input(size_t i) const {
    return context_.input<T>(3 + i);
  }
  template <class T>
  Span<T> output(size_t i) {
    return {context_.output<T>(i, {integers_[i]}), size_t(integers_[i])};
  }

  // Kernel inputs 0, 1, 2 are rowIndptr, sequences and layers; integers 0, 1 are their counts.
  BatchRows rows(size_t totalSlots) const {
    BatchRows rows{&cache(), nullptr, nullptr, nullptr, integer(0), integer(1)};
    context_.require(rows.numSequences >= 0 && rows.numLayers >= 0, "a count is negative");
    rows.rowIndptr = input<uint32_t>(0, countRows(rows) + 1);
    rows.sequences = input<int32_t>(1, rows.numSequences);
    rows.layers = input<int32_t>(2, rows.numLayers);
    require(checkRows(rows, totalSlots));
    return rows;
  }

  // Throws the problem, if there is one.
  void require(const char* problem) const { context_.require(!problem, problem ? problem : ""); }

 private:
  Context& context_;
  size_t numOutputs_;
  Span<const int64_t> integers_;
  Span<const float> floats_;
};

}  // namespace kv::ort
