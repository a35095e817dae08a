// Caches of JavaScript memory that the ops reach by a handle: registerCache, releaseCache.
#pragma once
#include "js.h"

namespace kv {

napi_value registerCache(napi_env env, napi_callback_info info);
napi_value releaseCache(napi_env env, napi_callback_info info);
// Releases every cache of an environment when it ends.
void prepareCaches(napi_env env);

}  // namespace kv
