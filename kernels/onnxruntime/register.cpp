#include "register.h"

#include <mutex>

#include "kernel-ops.h"
#include "paged-attention-op.h"
#include "rope-op.h"
#include "statistics-ops.h"

namespace kv::ort {
namespace {

OrtCustomOpDomain* createDomain() {
  const OrtCustomOp* ops[] = {customOp<KeyLeverageOp>(),
                              customOp<CapacityScoreOp>(),
                              customOp<GaussianAttentionOp>(),
                              customOp<QueryMomentsOp>(),
                              customOp<ChunkAttentionOp>(),
                              customOp<LinearRowsOp>(),
                              customOp<GeluOp>(),
                              customOp<RetentionGateOp>(),
                              customOp<NormSharesOp>(),
                              customOp<KeyProjectionOp>(),
                              customOp<PagedAttentionOp>(),
                              customOp<RopeOp>(),
                              customOp<WindowScoreOp>(),
                              customOp<KeyNormOp>(),
                              customOp<TopKOp>(),
                              customOp<CompactOp>(),
                              customOp<DrawTokensOp>(),
                              customOp<BlockScheduleOp>(),
                              customOp<QueryAttentionOp>(),
                              customOp<KeyRedundancyOp>(),
                              customOp<KeyDiffOp>(),
                              customOp<LagSpreadOp>(),
                              customOp<NearestKeptOp>(),
                              customOp<WindowSumsOp>(),
                              customOp<AttentionSpreadOp>(),
                              customOp<SpreadScoreOp>(),
                              customOp<WindowImportanceOp>(),
                              customOp<DefensiveScoreOp>(),
                              customOp<ProjectedValueNormOp>()};
  OrtCustomOpDomain* domain = nullptr;
  check(api->CreateCustomOpDomain("kvcache", &domain));
  for (const OrtCustomOp* op : ops) check(api->CustomOpDomain_Add(domain, op));
  return domain;
}

}  // namespace
}  // namespace kv::ort

OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  using namespace kv::ort;
  static std::mutex mutex;
  static OrtCustomOpDomain* domain = nullptr;  // lives as long as the process, as sessions may
  std::lock_guard<std::mutex> lock(mutex);
  if (!api) api = base->GetApi(21);
  if (!api)
    return base->GetApi(1)->CreateStatus(ORT_NOT_IMPLEMENTED,
                                         "kvcache ops need ONNX Runtime 1.21 or later (C API 21)");
  return guarded([&] {
    if (!domain) domain = createDomain();
    check(api->AddCustomOpDomain(options, domain));
  });
}
