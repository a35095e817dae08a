// Sessions of ONNX Runtime as JavaScript objects: createSession, releaseSession, run, runAsync.
#pragma once
#include "js.h"

namespace kv {

napi_value createSession(napi_env env, napi_callback_info info);
napi_value releaseSession(napi_env env, napi_callback_info info);
napi_value run(napi_env env, napi_callback_info info);
napi_value runAsync(napi_env env, napi_callback_info info);

}  // namespace kv
