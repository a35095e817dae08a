// Caches for tests: ragged rows over scattered blocks, with positions in any order.
#pragma once
#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "half.h"
#include "kv-cache.h"

struct CacheOptions {
  int numLayers = 2, numQueryHeads = 4, numKvHeads = 2, headDim = 64;
  int maxSequences = 3, maxLength = 512, blockSize = 16, windowSize = 0, dtype = kv::kF32;
};

class RandomCache {
 public:
  RandomCache(const CacheOptions& o, unsigned seed) : options(o), random(seed) {
    const int rows = o.maxSequences * o.numLayers * o.numKvHeads;
    const int blocksPerRow = (o.maxLength + o.blockSize - 1) / o.blockSize;
    const int numBlocks = rows * blocksPerRow;
    const size_t entryBytes = size_t(o.headDim) * (o.dtype == kv::kF16 ? 2 : 4);
    storage.resize(size_t(numBlocks) * o.blockSize * entryBytes * 2);
    positions.resize(size_t(numBlocks) * o.blockSize);
    sums.resize(positions.size());
    squares.resize(positions.size());
    tables.resize(numBlocks);
    std::iota(tables.begin(), tables.end(), 0);
    std::shuffle(tables.begin(), tables.end(), random);
    lengths.assign(rows, 0);
    next.assign(o.maxSequences, 0);
    arenaOfLayer.assign(size_t(o.maxSequences) * o.numLayers, 0);
    layerMap.resize(o.numLayers);
    std::iota(layerMap.begin(), layerMap.end(), 0);
    ring.resize(size_t(o.maxSequences) * o.numLayers * o.windowSize * o.numQueryHeads * o.headDim);
    view = {};
    view.numLayers = o.numLayers, view.numQueryHeads = o.numQueryHeads;
    view.numKvHeads = o.numKvHeads, view.headDim = o.headDim;
    view.maxSequences = o.maxSequences, view.maxBlocksPerRow = blocksPerRow;
    view.windowSize = o.windowSize, view.numArenas = 1;
    view.arenas[0] = {storage.data(), positions.data(), sums.data(), squares.data(), o.blockSize,
                      numBlocks,      o.dtype,          o.headDim,   o.dtype,        o.headDim};
    view.arenaOfLayer = arenaOfLayer.data(), view.layerMap = layerMap.data();
    view.blockTables = tables.data(), view.lengths = lengths.data();
    view.nextPositions = next.data(), view.windowQueries = ring.data();
  }

  std::vector<float> normals(size_t count, float scale = 1) {
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> out(count);
    for (float& x : out) x = normal(random);
    return out;
  }

  kv::Row row(int sequence, int layer, int head) const {
    return kv::rowOf(view, sequence, layer, head);
  }

  void write(uint8_t* slot, const std::vector<float>& entry) {
    for (int c = 0; c < options.headDim; c++)
      if (options.dtype == kv::kF32)
        reinterpret_cast<float*>(slot)[c] = entry[c];
      else
        reinterpret_cast<uint16_t*>(slot)[c] = kv::floatToHalf(entry[c]);
  }
  float read(const uint8_t* slot, int c) const {
    return options.dtype == kv::kF32 ? reinterpret_cast<const float*>(slot)[c]
                                     : kv::halfToFloat(reinterpret_cast<const uint16_t*>(slot)[c]);
  }

  // Gives a row `length` random tokens at distinct positions below `end`, in random order.
  void fill(int sequence, int layer, int head, int length, int end) {
    const size_t index = (size_t(sequence) * options.numLayers + layer) * options.numKvHeads + head;
    lengths[index] = length;
    std::vector<int> order(end);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    const kv::Row r = row(sequence, layer, head);
    std::uniform_real_distribution<float> uniform(0, 1);
    for (int j = 0; j < length; j++) {
      write(kv::keyOf(r, j), normals(options.headDim));
      write(kv::valueOf(r, j), normals(options.headDim));
      const size_t slot = kv::physicalSlot(r, j);
      positions[slot] = order[j];
      sums[slot] = uniform(random);
      squares[slot] = uniform(random);
    }
  }

  // What the host does before a step: `count` more slots with the next positions in every row.
  void append(int sequence, int count) {
    for (int layer = 0; layer < options.numLayers; layer++)
      for (int head = 0; head < options.numKvHeads; head++) {
        const size_t index =
            (size_t(sequence) * options.numLayers + layer) * options.numKvHeads + head;
        lengths[index] += count;
        const kv::Row r = row(sequence, layer, head);
        for (int i = 0; i < count; i++)
          positions[kv::physicalSlot(r, r.length - count + i)] = next[sequence] + i;
      }
    next[sequence] += count;
  }

  CacheOptions options;
  std::mt19937 random;
  std::vector<uint8_t> storage, arenaOfLayer;
  std::vector<int32_t> positions, tables, lengths, next, layerMap;
  std::vector<float> sums, squares, ring;
  KvCache view;
};
