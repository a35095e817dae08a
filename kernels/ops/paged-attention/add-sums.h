// Σa and Σa² per cached token, once the softmax of every query row is known. A call owns its slots,
// and adds rows in a fixed order.
#pragma once
#include "attend-panels.h"

namespace kv::KV_ISA {

// Adds [count] sums to the slots' side channels that the flags ask for.
static inline void storeSums(const HeadTask& head, int begin, int count, const float* sums,
                             const float* squares) {
  const KvArena& arena = *head.row.arena;
  forEachBlock(head.row, begin, count, [&](int block, int offset, int here, int done) {
    const size_t slot = size_t(head.row.blocks[block]) * arena.blockSize + offset;
    if (head.signalFlags & kSumAttention)
      for (int j = 0; j < here; j++) arena.sumAttention[slot + j] += sums[done + j];
    if (head.signalFlags & kSumSquaredAttention)
      for (int j = 0; j < here; j++) arena.sumSquaredAttention[slot + j] += squares[done + j];
  });
}

static void addSumsOfPanels(const HeadTask& head, int32_t beginSlot, int32_t endSlot) {
  const int d = head.headDim, rowsTotal = numRows(head);
  const int numTiles = (endSlot - beginSlot + kTile - 1) / kTile;
  float* keys = scratchFloats(size_t(kTile) * numTiles * (d + 2 * W) +
                              size_t(kTile) * (kPanel + 3) + size_t(d + 2) * kPanel);
  float* sums = keys + size_t(kTile) * numTiles * d;     // per token W partial sums,
  float* squares = sums + size_t(kTile) * numTiles * W;  // likewise
  float* scores = squares + size_t(kTile) * numTiles * W;
  float* queries = scores + size_t(kTile) * kPanel;
  float* maximum = queries + size_t(d) * kPanel;
  float* inverse = maximum + kPanel;
  float* reduced = inverse + kPanel;
  int32_t* positions = reinterpret_cast<int32_t*>(reduced + 2 * kTile);
  std::memset(sums, 0, size_t(kTile) * numTiles * 2 * W * 4);
  for (int t = 0; t < numTiles; t++)
    loadTileKeys(head, loadTile(head, beginSlot + t * kTile, endSlot, positions),
                 keys + size_t(t) * kTile * d);

  for (int first = 0; first < rowsTotal; first += kPanel) {
    const PanelRows rows = panelRows(head, first, rowsTotal);
    if (rows.last[rows.numRows - 1] < beginSlot) continue;
    packQueries(head, rows, queries);
    for (int i = 0; i < kPanel; i++) {
      maximum[i] = i < rows.numRows ? head.softmax[2 * (first + i)] : 0;
      inverse[i] = i < rows.numRows ? 1 / head.softmax[2 * (first + i) + 1] : 0;
    }
    for (int t = 0; t < numTiles; t++) {
      const Tile tile = loadTile(head, beginSlot + t * kTile, endSlot, positions);
      const Sight sight = sightOf(head, rows, tile);
      if (sight == Sight::none) continue;
      withVectors(rows.numRows, [&](auto vectors) {
        constexpr int NV = decltype(vectors)::value;
        panelLogits<NV>(head, rows, tile, sight, keys + size_t(t) * kTile * d, queries, scores);
        for (int j = 0; j < tile.count; j++) {
          const size_t token = (size_t(t) * kTile + j) * W;
          F sum = load(sums + token), square = load(squares + token);
          for (int v = 0; v < NV; v++) {
            const F logit = load(scores + size_t(j) * kPanel + v * W);
            F a = exp2(logit - load(maximum + v * W)) * load(inverse + v * W);
            const I distance = load(rows.position + v * W) - tile.positions[j];
            a = where(distance >= splat(head.buffer), a, F{});
            sum += a;
            square += a * a;
          }
          store(sums + token, sum);
          store(squares + token, square);
        }
      });
    }
  }
  for (int t = 0; t < numTiles; t++) {
    const int begin = beginSlot + t * kTile;
    const int count = endSlot - begin < kTile ? endSlot - begin : kTile;
    for (int j = 0; j < count; j++) {
      reduced[j] = sum(load(sums + (size_t(t) * kTile + j) * W));
      reduced[kTile + j] = sum(load(squares + (size_t(t) * kTile + j) * W));
    }
    storeSums(head, begin, count, reduced, reduced + kTile);
  }
}

static void addSumsOfRows(const HeadTask& head, int32_t beginSlot, int32_t endSlot) {
  int32_t positions[kTile];
  float sums[kTile], squares[kTile];
  for (int begin = beginSlot; begin < endSlot; begin += kTile) {
    const int count = endSlot - begin < kTile ? endSlot - begin : kTile;
    loadPositions(head.row, begin, count, positions);
    for (int j = count; j < kTile; j++) positions[j] = 0;
    for (int j = 0; j < kTile; j += W) {
      F sum = {}, square = {};
      for (int r = 0; r < numRows(head) && j < count; r++) {
        const float* logits = head.scores + size_t(r) * scoreLine(head) + begin + j;
        F a = exp2(load(logits) - head.softmax[2 * r]) * (1 / head.softmax[2 * r + 1]);
        const I distance = head.positions[r / head.group] - load(positions + j);
        a = where(distance >= splat(head.buffer), a, F{});
        sum += a;
        square += a * a;
      }
      store(sums + j, sum);
      store(squares + j, square);
    }
    storeSums(head, begin, count, sums, squares);
  }
}

}  // namespace kv::KV_ISA
