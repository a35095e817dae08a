#pragma once
#include <onnxruntime_c_api.h>

// Adds the ops of domain "kvcache" to a session. nullptr, or the error (the caller releases it).
extern "C" OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base);
