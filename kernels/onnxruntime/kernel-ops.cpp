#include "kernel-ops.h"

#include "compact.h"
#include "key-norm.h"
#include "native-call.h"
#include "top-k.h"
#include "window-score.h"

namespace kv::ort {

void KeyNormOp::compute(Context& context) const {
  NativeCall call(context, 1, 2, 0);
  const Span<float> scores = call.output<float>(0);
  keyNorm(call.rows(scores.size), scores.data, context.parallelFor());
}

void WindowScoreOp::compute(Context& context) const {
  NativeCall call(context, 1, 13, 1);
  const Span<float> scores = call.output<float>(0);
  WindowScoreCall score;
  score.rows = call.rows(scores.size);
  score.nextPositions = call.input<int32_t>(3, score.rows.numSequences);
  score.windowLengths = call.input<int32_t>(4, score.rows.numSequences);
  score.window = call.integer(2);
  score.power = call.integer(3);
  score.buffer = call.integer(4);
  score.pool = Pool(call.integer(5));
  score.poolSize = call.integer(6);
  score.rowReduce = RowReduce(call.integer(7));
  score.groupReduce = GroupReduce(call.integer(8));
  score.poolFirst = call.integer(9) != 0;
  score.allHeads = call.integer(10) != 0;
  score.slab = call.integer(11);
  score.excludeWindow = call.integer(12) != 0;
  score.scale = call.number(0);
  score.scores = scores.data;
  call.require(checkWindowScore(score));
  windowScore(score, context.parallelFor());
}

void TopKOp::compute(Context& context) const {
  NativeCall call(context, 1, 2, 0);
  const Span<uint32_t> indices = call.output<uint32_t>(0);
  const Span<const float> scores = call.input<float>(1);
  const size_t rows = size_t(call.integer(0));
  context.require(call.integer(0) >= 0, "numRows is negative");
  const std::string problem =
      topK({call.input<uint32_t>(0, rows + 1), scores.data, call.input<uint32_t>(2, rows),
            call.input<uint32_t>(3, rows + 1), indices.data, rows, scores.size, indices.size,
            call.integer(1) == 1},
           context.parallelFor());
  context.require(problem.empty(), problem);
}

void CompactOp::compute(Context& context) const {
  NativeCall call(context, 1, 1, 0);
  const Span<int32_t> moved = call.output<int32_t>(0);
  const Span<const int32_t> moves = call.input<int32_t>(0);
  const KvCache& cache = call.cache();
  const int32_t arena = call.integer(0);
  context.require(arena >= 0 && arena < cache.numArenas, "the arena does not exist");
  context.require(moves.size % 2 == 0 && moved.size == 1, "moves must be [M, 2], the output [1]");
  call.require(compact(cache.arenas[arena], moves.data, moves.size / 2, context.parallelFor()));
  moved[0] = int32_t(moves.size / 2);
}

}  // namespace kv::ort
