// Attention of few query rows, as in decoding: bound by memory, so every cached token is read once,
// in its stored type, for all query heads of its group, while the next ones are prefetched.
#pragma once
#include "panel-state.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {

constexpr int kRowTile = 64;               // cached tokens per tile
constexpr int kScoreLine = kRowTile + 16;  // groups of tokens may write past the tile

// Tokens that lie together: keys [count, stride] and values [count, stride] of element type T.
struct Run {
  const uint8_t *keys, *values;
  int first, count;  // in the tile
};

// A tile is read key run by key run while its values are prefetched, then value run by value run
// while the next tile's keys are.
struct RowTile {
  int begin, count, numRuns;
  Run runs[kRowTile];
};

static inline void findRuns(const HeadTask& head, int begin, int end, RowTile& tile) {
  const KvArena& a = *head.row.arena;
  tile.begin = begin;
  tile.count = end - begin < kRowTile ? (end > begin ? end - begin : 0) : kRowTile;
  tile.numRuns = 0;
  forEachBlock(head.row, begin, tile.count, [&](int block, int offset, int here, int done) {
    const uint8_t* storage = blockOf(head.row, block);
    tile.runs[tile.numRuns++] = {storage + offset * keyBytes(a),
                                 storage + a.blockSize * keyBytes(a) + offset * valueBytes(a), done,
                                 here};
  });
}

KV_INLINE void prefetch(const uint8_t* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
}

// scores[r][first + j] = key j of the run · query r, for R rows and groups of K tokens; prefetches
// `ahead` at the same pace.
template <class T, int R, int K>
KV_INLINE void runScores(const Run& run, const uint8_t* ahead, int chunks, const float* queries,
                         float* scores) {
  const size_t stride = size_t(chunks) * W;
  for (int j = 0; j < run.count; j += K) {
    const T* keys[K];
    for (int k = 0; k < K; k++)
      keys[k] = reinterpret_cast<const T*>(run.keys) +
                stride * (j + k < run.count ? j + k : run.count - 1);
    if (ahead) prefetch(ahead + stride * j * sizeof(T), stride * K * sizeof(T));
    F sums[R][K] = {};
    for (int c = 0; c < chunks; c++) {
      F q[R];
      for (int r = 0; r < R; r++) q[r] = load(queries + r * stride + c * W);
      for (int k = 0; k < K; k++) {
        const F key = load(keys[k] + c * W);
        for (int r = 0; r < R; r++) sums[r][k] += key * q[r];
      }
    }
    for (int r = 0; r < R; r++)
      for (int k = 0; k < K; k += 4)
        store4(scores + r * kScoreLine + run.first + j + k,
               sum4(sums[r][k], sums[r][k + 1], sums[r][k + 2], sums[r][k + 3]));
  }
}

// out[r] = out[r] · keep[r] + Σ_j weights[r][j] · value j, for R rows and chunks [c, c + C).
template <class T, int R, int C>
KV_INLINE void tileValues(const RowTile& tile, const RowTile* next, int chunks, int c,
                          const float* weights, const float* keep, float* out) {
  const size_t stride = size_t(chunks) * W;
  F sums[R][C];
  for (int r = 0; r < R; r++)
    for (int i = 0; i < C; i++) sums[r][i] = load(out + r * stride + (c + i) * W) * keep[r];
  for (int n = 0; n < tile.numRuns; n++) {
    const Run& run = tile.runs[n];
    const T* values = reinterpret_cast<const T*>(run.values) + c * W;
    const uint8_t* ahead = next && n < next->numRuns ? next->runs[n].keys : nullptr;
    for (int j = 0; j < run.count; j++) {
      if (ahead) prefetch(ahead + stride * j * sizeof(T), stride * sizeof(T));
      F weight[R];
      for (int r = 0; r < R; r++) weight[r] = splat(weights[r * kScoreLine + run.first + j]);
      for (int i = 0; i < C; i++) {
        const F value = load(values + stride * j + i * W);
        for (int r = 0; r < R; r++) sums[r][i] += weight[r] * value;
      }
    }
  }
  for (int r = 0; r < R; r++)
    for (int i = 0; i < C; i++) store(out + r * stride + (c + i) * W, sums[r][i]);
}

// −∞ for what query row `row` does not see, and for the padding up to a multiple of W.
static inline void maskRow(const HeadTask& head, int row, const RowTile& tile,
                           const int32_t* positions, float* scores) {
  const int visible = visibleSlots(head, row) - tile.begin;
  const int end = visible < tile.count ? (visible > 0 ? visible : 0) : tile.count;
  for (int j = end; j < roundUp(tile.count, W); j++) scores[j] = -__builtin_inff();
  if (!head.slidingWindow) return;
  const int oldest = head.positions[row / head.group] - head.slidingWindow;
  for (int j = 0; j < end; j++)
    if (positions[j] <= oldest) scores[j] = -__builtin_inff();
}

// Running softmax of one row over a tile: scores become weights. Returns the factor for what was
// accumulated before.
static inline float softmaxRow(int count, float* scores, float* maximum, float* sumOf) {
  F highest = splat(*maximum);
  for (int j = 0; j < count; j += W) highest = max(highest, load(scores + j));
  const float before = *maximum;
  *maximum = maxOf(highest);
  highest = splat(*maximum);
  F total = {};
  for (int j = 0; j < count; j += W) {
    const F weight = exp2(load(scores + j) - highest);
    store(scores + j, weight);
    total += weight;
  }
  const float keep = before == *maximum ? 1.f : exp2(splat(before) - highest)[0];
  *sumOf = *sumOf * keep + sum(total);
  return keep;
}

struct FewRows {
  const HeadTask* head;
  int firstRow, numRows, chunks;
  float* queries;  // [numRows, chunks × W], scaled
  float* out;      // likewise
  float maximum[kMaxFewRows], sum[kMaxFewRows];
};

static inline bool anyInWindow(const FewRows& rows, const RowTile& tile, const int32_t* positions) {
  const HeadTask& head = *rows.head;
  int oldest = INT32_MAX;
  for (int r = 0; r < rows.numRows; r++) {
    const int position = head.positions[(rows.firstRow + r) / head.group] - head.slidingWindow;
    oldest = position < oldest ? position : oldest;
  }
  for (int j = 0; j < tile.count; j++)
    if (positions[j] > oldest) return true;
  return false;
}

// Scores of a tile that no row sees.
static inline void keepNoScores(const FewRows& rows, const RowTile& tile) {
  const HeadTask& head = *rows.head;
  for (int r = 0; head.scores && r < rows.numRows; r++)
    for (int j = 0; j < tile.count; j++)
      head.scores[(rows.firstRow + r) * scoreLine(head) + tile.begin + j] = -__builtin_inff();
}

template <class T, int R>
KV_INLINE void attendTile(FewRows& rows, int r, const RowTile& tile, const RowTile* next,
                          const int32_t* positions, float* scores) {
  const HeadTask& head = *rows.head;
  const size_t stride = size_t(rows.chunks) * W;
  for (int n = 0; n < tile.numRuns; n++)
    runScores<T, R, 8 / R>(tile.runs[n], next ? tile.runs[n].values : nullptr, rows.chunks,
                           rows.queries + r * stride, scores);
  float keep[R];
  for (int i = 0; i < R; i++) {
    float* line = scores + i * kScoreLine;
    const int row = rows.firstRow + r + i;
    if (head.softcap > 0)
      for (int j = 0; j < tile.count; j += W)
        store(line + j, head.softcap * kLog2E * tanhHalfLn2(load(line + j)));
    maskRow(head, row, tile, positions, line);
    if (head.scores)
      std::memcpy(head.scores + size_t(row) * scoreLine(head) + tile.begin, line,
                  size_t(tile.count) * 4);
    keep[i] = softmaxRow(tile.count, line, &rows.maximum[r + i], &rows.sum[r + i]);
  }
  constexpr int C = 8 / R;
  float* out = rows.out + r * stride;
  int c = 0;
  for (; c + C <= rows.chunks; c += C)
    tileValues<T, R, C>(tile, c == 0 ? next : nullptr, rows.chunks, c, scores, keep, out);
  for (; c < rows.chunks; c++)
    tileValues<T, R, 1>(tile, c == 0 ? next : nullptr, rows.chunks, c, scores, keep, out);
}

template <class T>
KV_INLINE void attendTileRows(FewRows& rows, const RowTile& tile, const RowTile& next,
                              const int32_t* positions) {
  float scores[2 * kScoreLine] = {};
  int r = 0;
  for (; r + 2 <= rows.numRows; r += 2)
    attendTile<T, 2>(rows, r, tile, r == 0 ? &next : nullptr, positions, scores);
  if (r < rows.numRows)
    attendTile<T, 1>(rows, r, tile, r == 0 ? &next : nullptr, positions, scores);
}

static inline void finishRows(const Piece& piece, const FewRows& rows) {
  const HeadTask& head = *piece.head;
  const int d = head.headDim;
  for (int r = 0; r < rows.numRows; r++) {
    const int row = rows.firstRow + r;
    float* to = head.out + rowOffset(head, row);
    float factor = 1 / rows.sum[r];
    if (piece.partial) {
      float* partial = piece.partial + size_t(r) * (d + 2);
      partial[0] = rows.maximum[r];
      partial[1] = rows.sum[r];
      to = partial + 2;
      factor = 1;
    } else if (head.softmax) {
      head.softmax[2 * row] = rows.maximum[r];
      head.softmax[2 * row + 1] = rows.sum[r];
    }
    const float* out = rows.out + size_t(r) * rows.chunks * W;
    for (int c = 0; c < d; c++) to[c] = out[c] * factor;
  }
}

static void attendRows(const Piece& piece) {
  const HeadTask& head = *piece.head;
  const KvArena& arena = *head.row.arena;
  const int d = head.headDim, chunks = (d + W - 1) / W, stride = chunks * W;
  FewRows rows{&head, piece.firstRow, piece.endRow - piece.firstRow, chunks, nullptr, nullptr, {},
               {}};
  rows.queries = scratchFloats(size_t(stride) * (2 * rows.numRows + 2 * kRowTile));
  rows.out = rows.queries + size_t(rows.numRows) * stride;
  float* keys = rows.out + size_t(rows.numRows) * stride;
  float* values = keys + size_t(kRowTile) * stride;
  std::memset(rows.queries, 0, size_t(2 * rows.numRows) * stride * 4);
  const float factor =
      head.softcap > 0 ? head.scale / head.softcap * 2 * kLog2E : head.scale * kLog2E;
  for (int r = 0; r < rows.numRows; r++) {
    const float* query = head.query + rowOffset(head, rows.firstRow + r);
    for (int c = 0; c < d; c++) rows.queries[r * stride + c] = query[c] * factor;
    rows.maximum[r] = kNoMaximum;
  }
  // Entries are used in place unless they do not fill vectors, or so often that converting them
  // once is better.
  const bool sameType = arena.keyDtype == arena.valueDtype;
  const bool inPlace = d == stride && sameType && (arena.keyDtype == kF32 || rows.numRows <= 2);
  int32_t positions[kRowTile];
  RowTile tiles[2];
  findRuns(head, piece.beginSlot, piece.endSlot, tiles[0]);
  for (int t = 0; tiles[t].count > 0; t ^= 1) {
    RowTile &tile = tiles[t], &next = tiles[t ^ 1];
    findRuns(head, tile.begin + tile.count, piece.endSlot, next);
    if (head.slidingWindow) {
      loadPositions(head.row, tile.begin, tile.count, positions);
      if (!anyInWindow(rows, tile, positions)) {
        keepNoScores(rows, tile);
        continue;
      }
    }
    if (inPlace && arena.keyDtype == kF16) {
      attendTileRows<uint16_t>(rows, tile, next, positions);
    } else if (inPlace) {
      attendTileRows<float>(rows, tile, next, positions);
    } else {
      loadKeys(head.row, tile.begin, tile.count, stride, keys);
      loadValues(head.row, tile.begin, tile.count, stride, values);
      tile.numRuns = 1;
      tile.runs[0] = {reinterpret_cast<uint8_t*>(keys), reinterpret_cast<uint8_t*>(values), 0,
                      tile.count};
      const RowTile none{};
      attendTileRows<float>(rows, tile, none, positions);
    }
  }
  finishRows(piece, rows);
}

}  // namespace kv::KV_ISA
