// A panel of query rows of one sequence and KV head: its queries and what each row may see.
#pragma once
#include "attention-task.h"
#include "panel.h"

namespace kv::KV_ISA {

struct PanelRows {
  int firstRow, numRows;
  int32_t last[kPanel];      // last slot that the row sees
  int32_t position[kPanel];  // of the row's query
};

static inline PanelRows panelRows(const HeadTask& head, int firstRow, int endRow) {
  PanelRows rows{firstRow, endRow - firstRow < kPanel ? endRow - firstRow : kPanel, {}, {}};
  for (int i = 0; i < kPanel; i++) {
    const int row = firstRow + (i < rows.numRows ? i : 0);
    rows.last[i] = visibleSlots(head, row) - 1;
    rows.position[i] = head.positions[row / head.group];
  }
  return rows;
}

// Queries of the panel, transposed: [headDim][kPanel], scaled so that scores are logits in base 2
// (with a softcap: arguments of tanhHalfLn2). Unused lanes are zero.
static inline void packQueries(const HeadTask& head, const PanelRows& rows, float* queries) {
  const float factor =
      head.softcap > 0 ? head.scale / head.softcap * 2 * kLog2E : head.scale * kLog2E;
  for (int i = 0; i < kPanel; i++) {
    if (i < rows.numRows) {
      const float* query = head.query + rowOffset(head, rows.firstRow + i);
      for (int c = 0; c < head.headDim; c++) queries[size_t(c) * kPanel + i] = query[c] * factor;
    } else {
      for (int c = 0; c < head.headDim; c++) queries[size_t(c) * kPanel + i] = 0;
    }
  }
}

// A tile of cached tokens: slots [begin, begin + count), padded to a multiple of kUnroll.
struct Tile {
  int begin, count, padded;
  const int32_t* positions;  // [padded]; filled in where sliding windows or buffers need them
  int32_t minPosition, maxPosition;
};

template <int NV>
KV_INLINE void capScores(float softcap, int numKeys, float* scores) {
  const float factor = softcap * kLog2E;
  for (int j = 0; j < numKeys; j++)
    for (int v = 0; v < NV; v++) {
      float* s = scores + size_t(j) * kPanel + v * W;
      store(s, factor * tanhHalfLn2(load(s)));
    }
}

// −∞ for what a row does not see.
template <int NV>
KV_INLINE void maskScores(const PanelRows& rows, const Tile& tile, int slidingWindow,
                          float* scores) {
  for (int v = 0; v < NV; v++) {
    const I last = load(rows.last + v * W);
    const I oldest = load(rows.position + v * W) - slidingWindow;
    for (int j = 0; j < tile.padded; j++) {
      float* s = scores + size_t(j) * kPanel + v * W;
      I visible = last >= splat(j < tile.count ? tile.begin + j : INT32_MAX);
      if (slidingWindow) visible &= oldest < splat(tile.positions[j]);
      store(s, where(visible, load(s), splat(-__builtin_inff())));
    }
  }
}

enum class Sight { none, some, all };

// How much of a tile the rows of a panel see.
static inline Sight sightOf(const HeadTask& head, const PanelRows& rows, const Tile& tile) {
  const int firstLast = rows.last[0], lastLast = rows.last[rows.numRows - 1];
  if (tile.begin > lastLast) return Sight::none;
  bool all = tile.count == tile.padded && tile.begin + tile.count - 1 <= firstLast;
  if (head.slidingWindow) {
    int32_t low = rows.position[0], high = low;
    for (int i = 1; i < rows.numRows; i++) {
      low = rows.position[i] < low ? rows.position[i] : low;
      high = rows.position[i] > high ? rows.position[i] : high;
    }
    if (tile.maxPosition <= low - head.slidingWindow) return Sight::none;
    all = all && tile.minPosition > high - head.slidingWindow;
  }
  return all ? Sight::all : Sight::some;
}

// Scores of a panel with a tile: logits in base 2, −∞ where masked.
template <int NV>
KV_INLINE void panelLogits(const HeadTask& head, const PanelRows& rows, const Tile& tile,
                           Sight sight, const float* keys, const float* queries, float* scores) {
  panelScores<NV>(keys, head.headDim, tile.padded, queries, scores);
  if (head.softcap > 0) capScores<NV>(head.softcap, tile.padded, scores);
  if (sight != Sight::all) maskScores<NV>(rows, tile, head.slidingWindow, scores);
}

}  // namespace kv::KV_ISA
