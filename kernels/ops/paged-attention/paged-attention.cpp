#include "paged-attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <vector>

#include "attention-task.h"
#include "write-tokens.h"

namespace kv {
namespace {

// How work is cut depends on a sequence's own lengths only, never on the batch or the number of
// threads: so results do not depend on them either.
constexpr int32_t kFewRowsSlots = 512;    // slots per piece of few query rows
constexpr int32_t kManyRowsSlots = 4096;  // slots per piece of many query rows …
constexpr int32_t kSplitRows = 1024;      // … unless they are more than this: then all slots
constexpr int32_t kRowUnit = 48;          // rows per piece are a multiple (the widest panel)
constexpr int32_t kPieceRows = 192;
constexpr int32_t kSumSlots = 512;  // slots per piece of attention sums
static_assert(kFewRowsSlots % kTileSlots == 0 && kManyRowsSlots % kTileSlots == 0 &&
              kSumSlots % kTileSlots == 0);

// The same query rows over consecutive ranges of slots, to be merged when the last one is done.
struct Split {
  const HeadTask* head;
  int32_t firstRow, endRow, parts;
  size_t partial;  // offset of the first part's results; parts follow each other
  std::atomic<int32_t> remaining;

  size_t partFloats() const { return size_t(endRow - firstRow) * (head->headDim + 2); }
};

struct Work {
  Piece piece;
  Split* split;
  size_t partial;
  int64_t cost;
};

class Plan {
 public:
  Plan(const PagedAttentionCall& call) {
    heads_.reserve(size_t(call.numSequences) * call.cache->numKvHeads);
    for (int32_t s = 0; s < call.numSequences; s++)
      if (call.cuTokens[s] < call.cuTokens[s + 1])
        for (int32_t head = 0; head < call.cache->numKvHeads; head++) addHead(call, s, head);
    softmax_.reset(new float[softmaxFloats_]);
    scores_.reset(new float[scoreFloats_]);
    size_t softmax = 0, scores = 0;
    for (HeadTask& head : heads_) {
      if (wantsSums(head)) {
        head.softmax = softmax_.get() + softmax;
        softmax += size_t(numRows(head)) * 2;
        if (numRows(head) <= kMaxFewRows) {
          head.scores = scores_.get() + scores;
          scores += numRows(head) * scoreLine(head);
        }
      }
      addPieces(head);
    }
    partials_.reset(new float[partialFloats_]);
    for (Work& work : work_)
      if (work.split) work.piece.partial = partials_.get() + work.partial;
    std::stable_sort(work_.begin(), work_.end(),
                     [](const Work& a, const Work& b) { return a.cost > b.cost; });
  }

  void attend(const ParallelFor& parallelFor) {
    const AttentionKernels& kernels = attentionKernels();
    parallelFor(work_.size(), [&](size_t i) {
      const Work& work = work_[i];
      const bool few = numRows(*work.piece.head) <= kMaxFewRows;
      (few ? kernels.attendRows : kernels.attendPanels)(work.piece);
      if (work.split && work.split->remaining.fetch_sub(1) == 1) merge(*work.split);
    });
  }

  void addSums(const ParallelFor& parallelFor) const {
    struct Range {
      const HeadTask* head;
      int32_t begin;
    };
    std::vector<Range> ranges;
    for (const HeadTask& head : heads_)
      if (wantsSums(head))
        for (int32_t slot = 0; slot < head.row.length; slot += kSumSlots)
          ranges.push_back({&head, slot});
    const AttentionKernels& kernels = attentionKernels();
    parallelFor(ranges.size(), [&](size_t i) {
      const HeadTask& head = *ranges[i].head;
      const int32_t end = std::min(head.row.length, ranges[i].begin + kSumSlots);
      (head.scores ? kernels.addSumsOfRows : kernels.addSumsOfPanels)(head, ranges[i].begin, end);
    });
  }

 private:
  static bool wantsSums(const HeadTask& head) {
    return head.signalFlags & (kSumAttention | kSumSquaredAttention);
  }

  void addHead(const PagedAttentionCall& call, int32_t s, int32_t kvHead) {
    const KvCache& cache = *call.cache;
    const int32_t first = call.cuTokens[s], group = cache.numQueryHeads / cache.numKvHeads;
    const size_t stride = size_t(cache.numQueryHeads) * cache.headDim;
    const size_t offset = first * stride + size_t(kvHead) * group * cache.headDim;
    HeadTask head{};
    head.row = rowOf(cache, call.sequences[s], call.layer, kvHead);
    head.query = call.query + offset;
    head.out = call.out + offset;
    head.tokenStride = stride;
    head.positions = call.positions + first;
    head.numTokens = call.cuTokens[s + 1] - first;
    head.group = group;
    head.headDim = cache.headDim;
    head.slidingWindow = call.slidingWindow;
    head.scale = call.scale;
    head.softcap = call.softcap;
    head.signalFlags = call.signalFlags[s];
    head.buffer = call.attentionBuffers[s];
    if (wantsSums(head)) {
      softmaxFloats_ += size_t(numRows(head)) * 2;
      if (numRows(head) <= kMaxFewRows) scoreFloats_ += numRows(head) * scoreLine(head);
    }
    heads_.push_back(head);
  }

  void addPieces(const HeadTask& head) {
    const int32_t rows = numRows(head);
    if (rows <= kMaxFewRows) return addSlotRanges(head, 0, rows, kFewRowsSlots);
    const int32_t units = (rows + kRowUnit - 1) / kRowUnit;
    const int32_t tiles = (rows + kPieceRows - 1) / kPieceRows;
    for (int32_t tile = 0; tile < tiles; tile++) {
      const int32_t first = units * tile / tiles * kRowUnit;
      const int32_t end = std::min(rows, units * (tile + 1) / tiles * kRowUnit);
      addSlotRanges(head, first, end, rows <= kSplitRows ? kManyRowsSlots : head.row.length);
    }
  }

  void addSlotRanges(const HeadTask& head, int32_t firstRow, int32_t endRow, int32_t slots) {
    const int32_t visible = visibleSlots(head, endRow - 1);
    const int32_t parts = (visible + slots - 1) / slots;
    Split* split = nullptr;
    if (parts > 1) {
      splits_.emplace_back(new Split{&head, firstRow, endRow, parts, partialFloats_, {parts}});
      split = splits_.back().get();
    }
    for (int32_t begin = 0; begin < visible; begin += slots) {
      const int32_t end = std::min(visible, begin + slots);
      work_.push_back({{&head, firstRow, endRow, begin, end, nullptr},
                       split,
                       partialFloats_,
                       int64_t(endRow - firstRow) * (end - begin)});
      if (split) partialFloats_ += split->partFloats();
    }
  }

  void merge(const Split& split) const {
    const HeadTask& head = *split.head;
    const int32_t d = head.headDim;
    for (int32_t row = split.firstRow; row < split.endRow; row++) {
      const float* first = partials_.get() + split.partial + size_t(row - split.firstRow) * (d + 2);
      float maximum = first[0], sum = 0;
      for (int32_t part = 1; part < split.parts; part++)
        maximum = std::max(maximum, first[part * split.partFloats()]);
      float* out = head.out + rowOffset(head, row);
      std::fill(out, out + d, 0.f);
      for (int32_t part = 0; part < split.parts; part++) {
        const float* partial = first + part * split.partFloats();
        const float weight = std::exp2(partial[0] - maximum);
        sum += weight * partial[1];
        for (int32_t c = 0; c < d; c++) out[c] += weight * partial[2 + c];
      }
      for (int32_t c = 0; c < d; c++) out[c] *= 1 / sum;
      if (head.softmax) {
        head.softmax[2 * row] = maximum;
        head.softmax[2 * row + 1] = sum;
      }
    }
  }

  std::vector<HeadTask> heads_;
  std::vector<Work> work_;
  std::vector<std::unique_ptr<Split>> splits_;
  std::unique_ptr<float[]> softmax_, scores_, partials_;
  size_t softmaxFloats_ = 0, scoreFloats_ = 0, partialFloats_ = 0;
};

}  // namespace

void pagedAttention(const PagedAttentionCall& call, const ParallelFor& parallelFor) {
  writeTokens(call, parallelFor);
  Plan plan(call);
  plan.attend(parallelFor);
  plan.addSums(parallelFor);
}

}  // namespace kv
