#include "tensor.h"

namespace kv {
namespace {

size_t elementBytes(int64_t type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8:
      return 1;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return 2;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32:
      return 4;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      return 8;
    default:
      return 0;
  }
}

}  // namespace

Tensor tensorOf(napi_env env, napi_value object, const std::string& what, js::Pins& pins) {
  napi_value data = js::property(env, object, "data");
  const js::Array array = js::array(env, data, what + ".data");
  const int64_t type = js::integer(env, js::property(env, object, "type"), what + ".type");
  size_t bytes = elementBytes(type);
  if (bytes == 0) throw js::Error(what + ".type " + std::to_string(type) + " is not supported");
  std::vector<int64_t> dims;
  std::string shape;
  for (napi_value dim : js::elements(env, js::property(env, object, "dims"), what + ".dims")) {
    dims.push_back(js::integer(env, dim, what + ".dims"));
    if (dims.back() < 0 || __builtin_mul_overflow(bytes, size_t(dims.back()), &bytes))
      throw js::Error(what + ".dims are out of range");
    shape += (shape.empty() ? "" : ", ") + std::to_string(dims.back());
  }
  if (bytes != array.bytes)
    throw js::Error(what + " of shape [" + shape + "] needs " + std::to_string(bytes) +
                    " bytes, its array has " + std::to_string(array.bytes));
  static char nothing[8];
  OrtValue* value = nullptr;
  check(runtime().api->CreateTensorWithDataAsOrtValue(
      runtime().memory, bytes == 0 ? nothing : array.data, bytes, dims.data(), dims.size(),
      static_cast<ONNXTensorElementDataType>(type), &value));
  Tensor tensor(value);
  pins.add(data);
  return tensor;
}

}  // namespace kv
