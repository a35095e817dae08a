#pragma once
#include "isa.h"
#include "kv-cache.h"
#include "parallel.h"

namespace kv {

// Attention that tokens receive from all tokens of their chunk; see chunk-attention.ts.
struct ChunkAttentionCall {
  const KvCache* cache;
  int32_t sequence, layer;
  const float* queries;  // of positions first …, [numQueries, numQueryHeads × headDim]
  int32_t first, numQueries, chunk;
  bool padded;
  float* out;  // [numKvHeads, numQueries]
};

// nullptr, or what is wrong with the call.
const char* checkChunkAttention(const ChunkAttentionCall& call);

void chunkAttention(const ChunkAttentionCall& call, const ParallelFor& parallelFor);

// One chunk of one KV head.
struct Chunk {
  Row row;
  const int32_t* slots;  // [numTokens], −1 where not cached
  const float* queries;  // of the first token and the head's first query head
  size_t queriesApart;   // floats from token to token
  int32_t numTokens, group, headDim;
  int32_t padding;  // keys of logit 0, and queries that see all alike
  int32_t chunk;
  float* out;  // [numTokens]
};

using AttendChunk = void (*)(const Chunk& chunk);
KV_DECLARE_VARIANTS(AttendChunk, attendChunk)

}  // namespace kv
