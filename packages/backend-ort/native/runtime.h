// The ONNX Runtime of this process: the library that the onnxruntime-node package ships, opened at
// run time. C API only; the C++ API shares a global pointer with every other addon of the process.
#pragma once
#include <onnxruntime_c_api.h>

#include <string>

namespace kv {

struct Runtime {
  std::string path;
  const OrtApiBase* base;
  const OrtApi* api;
  OrtEnv* env;
  OrtMemoryInfo* memory;
};

// Opens the library once per process, from any thread; later calls must name the same file.
const Runtime& openRuntime(const std::string& path);

// Throws unless openRuntime has succeeded before.
const Runtime& runtime();

// Throws the message of a status that is not a success, and frees it.
void check(OrtStatus* status);

}  // namespace kv
