// Module kvcache_native: sessions of ONNX Runtime with the ops of domain kvcache, over JavaScript's
// own memory. Used by packages/backend-ort/src/native-addon.ts, which types these functions.
#include "cache.h"
#include "isa.h"
#include "js.h"
#include "runtime.h"
#include "session.h"

namespace kv {
namespace {

const char* isaName() {
  switch (isa()) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

// init(path of libonnxruntime) → { version, instructionSet }
napi_value init(napi_env env, napi_callback_info info) {
  const napi_value path = js::arguments(env, info, 1)[0];
  const Runtime& opened = openRuntime(js::text(env, path, "the library's path"));
  napi_value result;
  js::check(napi_create_object(env, &result), "no object");
  js::set(env, result, "version", js::string(env, opened.base->GetVersionString()));
  js::set(env, result, "instructionSet", js::string(env, isaName()));
  return result;
}

template <napi_value (*body)(napi_env, napi_callback_info)>
void define(napi_env env, napi_value exports, const char* name) {
  napi_value function;
  js::check(napi_create_function(env, name, NAPI_AUTO_LENGTH, js::guarded<body>, nullptr, &function),
            "no function");
  js::set(env, exports, name, function);
}

}  // namespace
}  // namespace kv

NAPI_MODULE_INIT() {
  using namespace kv;
  try {
    prepareCaches(env);
    define<init>(env, exports, "init");
    define<createSession>(env, exports, "createSession");
    define<releaseSession>(env, exports, "releaseSession");
    define<run>(env, exports, "run");
    define<runAsync>(env, exports, "runAsync");
    define<registerCache>(env, exports, "registerCache");
    define<releaseCache>(env, exports, "releaseCache");
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return exports;
}
