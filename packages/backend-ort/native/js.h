// Values of JavaScript as C++ values, by the plain C API of Node. Failures are thrown as
// std::exception; `guarded` turns them into JavaScript errors at the border.
#pragma once
#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace kv::js {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws unless the call succeeded; `what` names the value that was wrong.
void check(napi_status status, const std::string& what);

// The memory of a typed array, which may stand on a SharedArrayBuffer.
struct Array {
  void* data;
  size_t bytes;
  napi_typedarray_type type;
};

std::vector<napi_value> arguments(napi_env env, napi_callback_info info, size_t count);
napi_value property(napi_env env, napi_value object, const char* name);
std::vector<napi_value> elements(napi_env env, napi_value array, const std::string& what);
std::string text(napi_env env, napi_value value, const std::string& what);
int64_t integer(napi_env env, napi_value value, const std::string& what);
bool boolean(napi_env env, napi_value value, const std::string& what);
Array array(napi_env env, napi_value value, const std::string& what);

napi_value string(napi_env env, const std::string& value);
napi_value undefined(napi_env env);
void set(napi_env env, napi_value object, const char* name, napi_value value);

// Keeps JavaScript objects alive. Destroy it on the thread of its environment.
class Pins {
 public:
  explicit Pins(napi_env env) : env_(env) {}
  Pins(Pins&& other) noexcept : env_(other.env_), references_(std::move(other.references_)) {
    other.references_.clear();
  }
  Pins(const Pins&) = delete;
  ~Pins() {
    for (napi_ref reference : references_) napi_delete_reference(env_, reference);
  }
  void add(napi_value value);

 private:
  napi_env env_;
  std::vector<napi_ref> references_;
};

// Runs `execute` on a worker thread, then `finish` on this one; the returned promise settles with
// what `finish` returns or either throws. `pins` live until then.
napi_value queue(napi_env env, const char* name, std::shared_ptr<Pins> pins,
                 std::function<void()> execute, std::function<napi_value(napi_env)> finish);

template <napi_value (*body)(napi_env, napi_callback_info)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return body(env, info);
  } catch (const std::exception& error) {
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (!pending) napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

}  // namespace kv::js
