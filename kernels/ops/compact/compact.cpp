#include "compact.h"

#include <algorithm>
#include <cstring>

namespace kv {
namespace {

void move(const KvArena& arena, int32_t from, int32_t to) {
  const int32_t blocks[] = {from / arena.blockSize, to / arena.blockSize};
  const Row row{&arena, blocks, 2 * arena.blockSize};
  const int32_t source = from % arena.blockSize, target = arena.blockSize + to % arena.blockSize;
  std::memcpy(keyOf(row, target), keyOf(row, source), keyBytes(arena));
  std::memcpy(valueOf(row, target), valueOf(row, source), valueBytes(arena));
  arena.positions[to] = arena.positions[from];
  if (arena.sumAttention) arena.sumAttention[to] = arena.sumAttention[from];
  if (arena.sumSquaredAttention) arena.sumSquaredAttention[to] = arena.sumSquaredAttention[from];
}

}  // namespace

const char* compact(const KvArena& arena, const int32_t* moves, size_t numMoves,
                    const ParallelFor& parallelFor) {
  if (arena.keyDtype < 0 || arena.keyDtype > 1 || arena.valueDtype < 0 || arena.valueDtype > 1)
    return "the arena's entries are stored as neither f32 nor f16";
  const int64_t numSlots = int64_t(arena.numBlocks) * arena.blockSize;
  for (size_t i = 0; i < 2 * numMoves; i++)
    if (moves[i] < 0 || moves[i] >= numSlots) return "a move leaves the arena";
  for (size_t i = 0; i < numMoves; i++)
    if (moves[2 * i] == moves[2 * i + 1]) return "a move ends where it begins";
  constexpr size_t kMoves = 512;  // per piece of work
  parallelFor((numMoves + kMoves - 1) / kMoves, [&](size_t piece) {
    const size_t end = std::min(numMoves, (piece + 1) * kMoves);
    for (size_t i = piece * kMoves; i < end; i++) move(arena, moves[2 * i], moves[2 * i + 1]);
  });
  return nullptr;
}

}  // namespace kv
