// { data: TypedArray, type: ONNX element type, dims: number[] } → OrtValue over the same memory.
#pragma once
#include <memory>

#include "js.h"
#include "runtime.h"

namespace kv {

struct ValueDeleter {
  void operator()(OrtValue* value) const { runtime().api->ReleaseValue(value); }
};
using Tensor = std::unique_ptr<OrtValue, ValueDeleter>;

// Throws when the array's bytes are not those of the dims; pins the array.
Tensor tensorOf(napi_env env, napi_value object, const std::string& what, js::Pins& pins);

}  // namespace kv
