// Flash attention for many query rows: tiles of cached tokens are unpacked once and used by all
// panels of the piece.
#pragma once
#include "panel-state.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {

static_assert(kTile == kTileSlots);

// Running softmax of a panel over one tile: scores become weights relative to the new maximum.
template <int NV>
KV_INLINE void softmaxTile(int numKeys, float* scores, float* maximum, float* sum, F* keep) {
  for (int v = 0; v < NV; v++) {
    const F before = load(maximum + v * W);
    F highest = before;
    for (int j = 0; j < numKeys; j++)
      highest = max(highest, load(scores + size_t(j) * kPanel + v * W));
    keep[v] = exp2(before - highest);
    store(maximum + v * W, highest);
    F total = {};
    for (int j = 0; j < numKeys; j++) {
      float* s = scores + size_t(j) * kPanel + v * W;
      const F weight = exp2(load(s) - highest);
      store(s, weight);
      total += weight;
    }
    store(sum + v * W, load(sum + v * W) * keep[v] + total);
  }
}

static inline Tile loadTile(const HeadTask& head, int begin, int end, int32_t* positions) {
  Tile tile{begin, end - begin < kTile ? end - begin : kTile, 0, positions, 0, 0};
  tile.padded = roundUp(tile.count, kUnroll);
  if (!head.slidingWindow && !head.signalFlags) return tile;
  loadPositions(head.row, begin, tile.count, positions);
  for (int j = tile.count; j < tile.padded; j++) positions[j] = positions[tile.count - 1];
  tile.minPosition = tile.maxPosition = positions[0];
  for (int j = 1; j < tile.count; j++) {
    tile.minPosition = positions[j] < tile.minPosition ? positions[j] : tile.minPosition;
    tile.maxPosition = positions[j] > tile.maxPosition ? positions[j] : tile.maxPosition;
  }
  return tile;
}

// Keys (and values) of a tile as floats; padding tokens are zero.
static inline void loadTileKeys(const HeadTask& head, const Tile& tile, float* keys) {
  loadKeys(head.row, tile.begin, tile.count, head.headDim, keys);
  std::memset(keys + size_t(tile.count) * head.headDim, 0,
              size_t(tile.padded - tile.count) * head.headDim * 4);
}
static inline void loadTileValues(const HeadTask& head, const Tile& tile, int width,
                                  float* values) {
  loadValues(head.row, tile.begin, tile.count, width, values);
  std::memset(values + size_t(tile.count) * width, 0, size_t(tile.padded - tile.count) * width * 4);
}

static inline void finishPanel(const Piece& piece, const PanelRows& rows, const float* maximum,
                               const float* sum, const float* out) {
  const HeadTask& head = *piece.head;
  const int d = head.headDim;
  for (int i = 0; i < rows.numRows; i++) {
    const int row = rows.firstRow + i;
    float* to = head.out + rowOffset(head, row);
    float factor = 1 / sum[i];
    if (piece.partial) {
      float* partial = piece.partial + size_t(row - piece.firstRow) * (d + 2);
      partial[0] = maximum[i];
      partial[1] = sum[i];
      to = partial + 2;
      factor = 1;
    } else if (head.softmax) {
      head.softmax[2 * row] = maximum[i];
      head.softmax[2 * row + 1] = sum[i];
    }
    for (int c = 0; c < d; c++) to[c] = out[size_t(c) * kPanel + i] * factor;
  }
}

static void attendPanels(const Piece& piece) {
  const HeadTask& head = *piece.head;
  const int d = head.headDim, width = roundUp(d, kUnroll);
  const int numPanels = (piece.endRow - piece.firstRow + kPanel - 1) / kPanel;
  const size_t perPanel = size_t(d + width + 2) * kPanel;
  float* keys = scratchFloats(size_t(kTile) * (d + width + kPanel + 1) + numPanels * perPanel);
  float* values = keys + size_t(kTile) * d;
  float* scores = values + size_t(kTile) * width;
  int32_t* positions = reinterpret_cast<int32_t*>(scores + size_t(kTile) * kPanel);
  float* panels = reinterpret_cast<float*>(positions + kTile);
  const auto rowsOf = [&](int panel) {
    return panelRows(head, piece.firstRow + panel * kPanel, piece.endRow);
  };
  for (int panel = 0; panel < numPanels; panel++) {
    float* queries = panels + panel * perPanel;
    float* maximum = queries + size_t(d) * kPanel;
    packQueries(head, rowsOf(panel), queries);
    for (int i = 0; i < kPanel; i++) maximum[i] = kNoMaximum;
    std::memset(maximum + kPanel, 0, size_t(width + 1) * kPanel * 4);
  }
  for (int begin = piece.beginSlot; begin < piece.endSlot; begin += kTile) {
    const Tile tile = loadTile(head, begin, piece.endSlot, positions);
    bool loaded = false;
    for (int panel = 0; panel < numPanels; panel++) {
      const PanelRows rows = rowsOf(panel);
      const Sight sight = sightOf(head, rows, tile);
      if (sight == Sight::none) continue;
      if (!loaded) {
        loadTileKeys(head, tile, keys);
        loadTileValues(head, tile, width, values);
        loaded = true;
      }
      float* queries = panels + panel * perPanel;
      float* maximum = queries + size_t(d) * kPanel;
      float* sum = maximum + kPanel;
      withVectors(rows.numRows, [&](auto vectors) {
        constexpr int NV = decltype(vectors)::value;
        F keep[NV];
        panelLogits<NV>(head, rows, tile, sight, keys, queries, scores);
        softmaxTile<NV>(tile.padded, scores, maximum, sum, keep);
        panelValues<NV>(values, width, tile.padded, scores, keep, sum + kPanel);
      });
    }
  }
  for (int panel = 0; panel < numPanels; panel++) {
    float* maximum = panels + panel * perPanel + size_t(d) * kPanel;
    finishPanel(piece, rowsOf(panel), maximum, maximum + kPanel, maximum + 2 * kPanel);
  }
}

}  // namespace kv::KV_ISA
