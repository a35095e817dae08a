#include "runtime.h"

#include <dlfcn.h>

#include <atomic>
#include <mutex>
#include <stdexcept>

namespace kv {
namespace {

std::mutex mutex;
std::atomic<const Runtime*> current{nullptr};  // lives as long as the process

void checkWith(const OrtApi* api, OrtStatus* status) {
  if (!status) return;
  const std::string message = api->GetErrorMessage(status);
  api->ReleaseStatus(status);
  throw std::runtime_error(message);
}

}  // namespace

const Runtime& openRuntime(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex);
  if (const Runtime* open = current) {
    if (open->path != path)
      throw std::runtime_error("ONNX Runtime is open already, from " + open->path);
    return *open;
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::runtime_error(dlerror());
  const auto getBase =
      reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  if (!getBase) throw std::runtime_error(path + " is not an ONNX Runtime library");
  const OrtApiBase* base = getBase();
  const OrtApi* api = base->GetApi(ORT_API_VERSION);
  if (!api)
    throw std::runtime_error(std::string("ONNX Runtime ") + base->GetVersionString() +
                             " is too old: 1." + std::to_string(ORT_API_VERSION) +
                             " or later is needed");
  auto* opened = new Runtime{path, base, api, nullptr, nullptr};
  checkWith(api, api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "kvcache", &opened->env));
  checkWith(api, api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &opened->memory));
  current = opened;
  return *opened;
}

const Runtime& runtime() {
  const Runtime* open = current;
  if (!open) throw std::runtime_error("init was not called");
  return *open;
}

void check(OrtStatus* status) { checkWith(runtime().api, status); }

}  // namespace kv
