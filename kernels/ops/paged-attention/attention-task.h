// What the scheduler (paged-attention.cpp) and the kernels of each instruction set share.
#pragma once
#include <cstddef>
#include <cstdint>

#include "isa.h"
#include "kv-cache.h"

namespace kv {

// Cached tokens per tile: pieces begin at multiples of it.
constexpr int32_t kTileSlots = 128;
// attendRows takes up to this many query rows.
constexpr int32_t kMaxFewRows = 8;

// Everything about one sequence and KV head in one step. Its query rows are r = token × group + g:
// the `group` query heads that share the KV head, token by token.
struct HeadTask {
  Row row;
  const float* query;        // of the first token and the group's first head
  float* out;                // likewise
  size_t tokenStride;        // floats from token to token in query and out
  const int32_t* positions;  // [numTokens]
  int32_t numTokens, group, headDim;
  int32_t slidingWindow;  // 0 = none
  float scale, softcap;   // softcap 0 = none
  int32_t signalFlags, buffer;
  float* softmax;  // [numRows, 2] maximum (base 2) and sum of each row, or nullptr
  float* scores;   // logits (base 2) that attendRows keeps: scoreLine(head) a row, or nullptr
};

static inline int32_t numRows(const HeadTask& head) { return head.numTokens * head.group; }
// Slots that query row r can see by order: [0, visibleSlots).
static inline int32_t visibleSlots(const HeadTask& head, int32_t row) {
  return head.row.length - head.numTokens + row / head.group + 1;
}
// Offset of query row r in query and out.
static inline size_t rowOffset(const HeadTask& head, int32_t row) {
  return row / head.group * head.tokenStride + size_t(row % head.group) * head.headDim;
}

// Floats per query row in `scores`.
static inline size_t scoreLine(const HeadTask& head) {
  return (size_t(head.row.length) + kTileSlots - 1) / kTileSlots * kTileSlots;
}

// Query rows [firstRow, endRow) over slots [beginSlot, endSlot). `partial` is nullptr when that is
// all the rows can see; else it receives, per row, maximum, sum and the unscaled output [headDim].
struct Piece {
  const HeadTask* head;
  int32_t firstRow, endRow;
  int32_t beginSlot, endSlot;
  float* partial;
};

struct AttentionKernels {
  // Few query rows: reads each cached token once, as it is stored; bound by memory.
  void (*attendRows)(const Piece& piece);
  // Many query rows: bound by arithmetic.
  void (*attendPanels)(const Piece& piece);
  // Adds Σa and Σa² of all query rows to slots [beginSlot, endSlot), from head.softmax and, for
  // few rows, head.scores.
  void (*addSumsOfRows)(const HeadTask& head, int32_t beginSlot, int32_t endSlot);
  void (*addSumsOfPanels)(const HeadTask& head, int32_t beginSlot, int32_t endSlot);
  void (*toHalf)(const float* numbers, size_t count, uint16_t* halves);
};

KV_DECLARE_VARIANTS(AttentionKernels, attentionKernels)

}  // namespace kv
