// The rows of a batch that score kernels work on: row = (index of the sequence × numLayers + index
// of the layer) × numKvHeads + head; row r has entries rowIndptr[r] … of per-slot tables.
#pragma once
#include "kv-cache.h"

namespace kv {

struct BatchRows {
  const KvCache* cache;
  const uint32_t* rowIndptr;  // [count + 1]
  const int32_t* sequences;   // [numSequences]: cache slots
  const int32_t* layers;      // [numLayers]
  int32_t numSequences, numLayers;
};

struct BatchRow {
  Row row;
  int32_t sequenceIndex, sequence, layer, head;
  size_t begin;  // of its entries
};

static inline size_t countRows(const BatchRows& rows) {
  return size_t(rows.numSequences) * rows.numLayers * rows.cache->numKvHeads;
}

static inline BatchRow rowAt(const BatchRows& rows, size_t index) {
  const int32_t heads = rows.cache->numKvHeads, head = int32_t(index % heads);
  const size_t pair = index / heads;
  const int32_t sequenceIndex = int32_t(pair / rows.numLayers);
  const int32_t sequence = rows.sequences[sequenceIndex],
                layer = rows.layers[pair % rows.numLayers];
  return {rowOf(*rows.cache, sequence, layer, head),
          sequenceIndex,
          sequence,
          layer,
          head,
          rows.rowIndptr[index]};
}

// nullptr when all rows can be read and fit rowIndptr, else what is wrong.
static inline const char* checkRows(const BatchRows& rows, size_t totalSlots) {
  const KvCache& cache = *rows.cache;
  for (int32_t s = 0; s < rows.numSequences; s++)
    if (rows.sequences[s] < 0 || rows.sequences[s] >= cache.maxSequences)
      return "a sequence slot does not exist";
  for (int32_t l = 0; l < rows.numLayers; l++)
    if (rows.layers[l] < 0 || rows.layers[l] >= cache.numLayers) return "a layer does not exist";
  const size_t count = countRows(rows);
  for (size_t i = 0; i < count; i++) {
    const BatchRow at = rowAt(rows, i);
    if (const char* problem = checkRow(cache, at.row)) return problem;
    if (rows.rowIndptr[i + 1] - rows.rowIndptr[i] != uint32_t(at.row.length))
      return "rowIndptr does not match the lengths of the cache's rows";
  }
  return rows.rowIndptr[0] != 0 || rows.rowIndptr[count] > totalSlots
             ? "rowIndptr does not start at 0 or runs past the scores"
             : nullptr;
}

}  // namespace kv
