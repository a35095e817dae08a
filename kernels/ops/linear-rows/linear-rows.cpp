#include "linear-rows.h"

namespace kv {

void linearRows(const LinearRowsCall& call, const ParallelFor& parallelFor) {
  if (call.numRows == 0) return;
  const LinearKernels& kernels = linearKernels();
  std::vector<float> panels(kernels.panelFloats(call));
  kernels.pack(call, panels.data());
  const size_t tiles = (size_t(call.numRows) + kernels.tile - 1) / kernels.tile;
  parallelFor(tiles,
              [&](size_t i) { kernels.run(call, panels.data(), int32_t(i) * kernels.tile); });
}

void geluInPlace(float* values, size_t count, const ParallelFor& parallelFor) {
  constexpr size_t piece = 16384;
  parallelFor((count + piece - 1) / piece, [&](size_t i) {
    const size_t left = count - i * piece;
    linearKernels().gelu(values + i * piece, left < piece ? left : piece);
  });
}

}  // namespace kv
