#include "custom-op.h"

#include "cache-registry.h"

namespace kv::ort {

const OrtApi* api = nullptr;

void check(OrtStatus* status) {
  if (!status) return;
  const std::string message = api->GetErrorMessage(status);
  api->ReleaseStatus(status);
  throw std::runtime_error(message);
}

int64_t Attributes::integer(const char* name) const {
  int64_t value = 0;
  check(api->KernelInfoGetAttribute_int64(info_, name, &value));
  return value;
}

int64_t Attributes::integer(const char* name, int64_t otherwise) const {
  int64_t value = otherwise;
  if (OrtStatus* absent = api->KernelInfoGetAttribute_int64(info_, name, &value)) {
    api->ReleaseStatus(absent);
    return otherwise;
  }
  return value;
}

float Attributes::number(const char* name) const {
  float value = 0;
  check(api->KernelInfoGetAttribute_float(info_, name, &value));
  return value;
}

float Attributes::number(const char* name, float otherwise) const {
  float value = otherwise;
  if (OrtStatus* absent = api->KernelInfoGetAttribute_float(info_, name, &value)) {
    api->ReleaseStatus(absent);
    return otherwise;
  }
  return value;
}

const OrtValue* Context::inputValue(size_t index) const {
  const OrtValue* value = nullptr;
  check(api->KernelContext_GetInput(context_, index, &value));
  require(value != nullptr, "input " + std::to_string(index) + " is missing");
  return value;
}

void* Context::data(const OrtValue* value) {
  void* data = nullptr;
  check(api->GetTensorMutableData(const_cast<OrtValue*>(value), &data));
  return data;
}

size_t Context::count(const OrtValue* value) {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(api->GetTensorTypeAndShape(value, &info));
  size_t count = 0;
  OrtStatus* status = api->GetTensorShapeElementCount(info, &count);
  api->ReleaseTensorTypeAndShapeInfo(info);
  check(status);
  return count;
}

std::vector<int64_t> Context::shape(size_t index) const {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(api->GetTensorTypeAndShape(inputValue(index), &info));
  size_t rank = 0;
  OrtStatus* status = api->GetDimensionsCount(info, &rank);
  std::vector<int64_t> dims(rank);
  if (!status) status = api->GetDimensions(info, dims.data(), rank);
  api->ReleaseTensorTypeAndShapeInfo(info);
  check(status);
  return dims;
}

void* Context::outputData(size_t index, const std::vector<int64_t>& shape) {
  OrtValue* value = nullptr;
  check(api->KernelContext_GetOutput(context_, index, shape.data(), shape.size(), &value));
  require(value != nullptr, "output " + std::to_string(index) + " is not connected");
  return data(value);
}

KvCache& Context::cache(size_t index) const {
  const Span<const int64_t> handle = input<int64_t>(index);
  require(handle.size == 1, "the cache handle must be one int64");
  KvCache* cache = kv_cache_lookup(handle[0]);
  require(cache != nullptr,
          "cache handle " + std::to_string(handle[0]) + " was released or never registered");
  return *cache;
}

void Context::require(bool condition, const std::string& message) const {
  if (!condition) throw std::invalid_argument(std::string(op_) + ": " + message);
}

ParallelFor Context::parallelFor() const {
  return {[](void* context, void (*body)(void*, size_t), size_t total, void* data) {
            check(api->KernelContext_ParallelFor(static_cast<OrtKernelContext*>(context), body,
                                                 total, 0, data));
          },
          context_};
}

OrtCustomOp commonTable() {
  OrtCustomOp t{};
  t.version = 17;  // of OrtCustomOp itself: the callbacks below
  t.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* {
    return "CPUExecutionProvider";
  };
  t.GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  t.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  t.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
  t.GetVariadicInputMinArity = [](const OrtCustomOp*) { return 0; };
  t.GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 0; };
  t.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 0; };
  t.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 0; };
  t.GetStartVersion = [](const OrtCustomOp*) { return 1; };
  t.GetEndVersion = [](const OrtCustomOp*) { return 2147483647; };
  t.GetMayInplace = [](int**, int**) -> size_t { return 0; };
  t.ReleaseMayInplace = [](int*, int*) {};
  t.GetAliasMap = [](int**, int**) -> size_t { return 0; };
  t.ReleaseAliasMap = [](int*, int*) {};
  return t;
}

}  // namespace kv::ort
