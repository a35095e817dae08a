// One C++ struct per custom op → the table of C callbacks that ONNX Runtime wants. C API only: the
// C++ API keeps a process-wide pointer that other addons would share and overwrite.
//
// An op is a struct with `name`, `inputs`, `outputs`, a constructor that reads its attributes, and
// `compute(Context&) const`. Errors are thrown as std::exception and become an OrtStatus.
#pragma once
#include <onnxruntime_c_api.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "kv-cache.h"
#include "parallel.h"

namespace kv::ort {

using Type = ONNXTensorElementDataType;
constexpr Type kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
constexpr Type kInt32 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
constexpr Type kUint32 = ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32;
constexpr Type kInt64 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;

// The API table, version 21: set by RegisterCustomOps before any op exists.
extern const OrtApi* api;

// Throws the message of a status that is not a success, and frees it.
void check(OrtStatus* status);

template <class T>
struct Span {
  T* data;
  size_t size;
  T& operator[](size_t i) const { return data[i]; }
};

class Attributes {
 public:
  explicit Attributes(const OrtKernelInfo* info) : info_(info) {}
  int64_t integer(const char* name) const;
  int64_t integer(const char* name, int64_t otherwise) const;
  float number(const char* name) const;
  float number(const char* name, float otherwise) const;

 private:
  const OrtKernelInfo* info_;
};

class Context {
 public:
  Context(OrtKernelContext* context, const char* op) : context_(context), op_(op) {}

  template <class T>
  Span<const T> input(size_t index) const {
    const OrtValue* value = inputValue(index);
    return {static_cast<const T*>(data(value)), count(value)};
  }
  // Dimensions of an input.
  std::vector<int64_t> shape(size_t index) const;

  template <class T>
  T* output(size_t index, const std::vector<int64_t>& shape) {
    return static_cast<T*>(outputData(index, shape));
  }
  // The cache that int64 input `index` names; throws when there is none.
  KvCache& cache(size_t index) const;
  // Throws "<op>: <message>" unless the condition holds.
  void require(bool condition, const std::string& message) const;
  ParallelFor parallelFor() const;

 private:
  const OrtValue* inputValue(size_t index) const;
  static void* data(const OrtValue* value);
  static size_t count(const OrtValue* value);
  void* outputData(size_t index, const std::vector<int64_t>& shape);

  OrtKernelContext* context_;
  const char* op_;
};

template <class Body>
OrtStatus* guarded(Body&& body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    return api->CreateStatus(ORT_INVALID_ARGUMENT, error.what());
  }
}

// Callbacks that are the same for every op.
OrtCustomOp commonTable();

template <class Op>
const OrtCustomOp* customOp() {
  static const OrtCustomOp table = [] {
    OrtCustomOp t = commonTable();
    t.GetName = [](const OrtCustomOp*) { return Op::name; };
    t.CreateKernelV2 = [](const OrtCustomOp*, const OrtApi*, const OrtKernelInfo* info,
                          void** kernel) -> OrtStatusPtr {
      return guarded([&] { *kernel = new Op(Attributes(info)); });
    };
    t.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) -> OrtStatusPtr {
      return guarded([&] {
        Context c(context, Op::name);
        static_cast<const Op*>(kernel)->compute(c);
      });
    };
    t.KernelDestroy = [](void* kernel) { delete static_cast<Op*>(kernel); };
    t.GetInputTypeCount = [](const OrtCustomOp*) { return std::size(Op::inputs); };
    t.GetInputType = [](const OrtCustomOp*, size_t i) { return Op::inputs[i]; };
    t.GetOutputTypeCount = [](const OrtCustomOp*) { return std::size(Op::outputs); };
    t.GetOutputType = [](const OrtCustomOp*, size_t i) { return Op::outputs[i]; };
    return t;
  }();
  return &table;
}

}  // namespace kv::ort
