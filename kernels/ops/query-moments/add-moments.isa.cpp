// Compiled once per instruction set: joins the moments of new rows to those of one head.
#include <vector>

#include "query-moments.h"
#include "row-products.h"
#include "scratch.h"

namespace kv::KV_ISA {
namespace {

void join(const MomentsCall& call, int32_t head) {
  const int width = call.width, stride = roundUp(width, kUnroll), count = call.numRows;
  const size_t apart = size_t(call.heads) * width;
  const float* rows = call.rows + size_t(head) * width;
  float* tile = scratchFloats(size_t(kTile) * stride + productScratch(stride));
  float* products = tile + size_t(kTile) * stride;
  float* mean = call.means + size_t(head) * width;

  std::vector<double> own(width), sums(call.deviations ? size_t(width) * width : 0);
  for (int i = 0; i < count; i++)
    for (int c = 0; c < width; c++) own[c] += rows[i * apart + c];
  for (int c = 0; c < width; c++) own[c] /= count;
  for (int begin = 0; call.deviations && begin < count; begin += kTile) {
    const int here = count - begin < kTile ? count - begin : kTile;
    std::memset(tile, 0, size_t(here) * stride * 4);
    for (int i = 0; i < here; i++)
      for (int c = 0; c < width; c++)
        tile[size_t(i) * stride + c] = rows[(begin + i) * apart + c] - float(own[c]);
    addProducts(tile, here, width, stride, products, sums.data());
  }
  const double all = double(call.before) + count, weight = call.before * double(count) / all;
  std::vector<double> shift(width);
  for (int c = 0; c < width; c++) shift[c] = own[c] - mean[c];
  if (call.deviations) {
    float* deviations = call.deviations + size_t(head) * width * width;
    for (int a = 0; a < width; a++)
      for (int b = 0; b < width; b++)
        deviations[size_t(a) * width + b] +=
            float(sums[size_t(a) * width + b] + weight * shift[a] * shift[b]);
  }
  for (int c = 0; c < width; c++) mean[c] = float(mean[c] + shift[c] * count / all);
}

}  // namespace

extern const AddMoments addMoments = join;

}  // namespace kv::KV_ISA
