// Compiled once per instruction set: attention that the keys of one chunk receive. Queries lie
// along the lanes; a panel of them looks at all keys, which stay in the cache meanwhile.
#include <vector>

#include "chunk-attention.h"
#include "panel.h"
#include "scratch.h"
#include "tile.h"

namespace kv::KV_ISA {
namespace {

// Keys of the tokens that are cached, [count][stride], zero lines up to a multiple of kUnroll.
int loadCached(const Chunk& c, int stride, float* keys, std::vector<int32_t>& tokens) {
  for (int i = 0; i < c.numTokens; i++)
    if (c.slots[i] >= 0) tokens.push_back(i);
  const int count = int(tokens.size());
  for (int done = 0; done < count;) {
    const int slot = c.slots[tokens[done]];
    int run = 1;
    while (done + run < count && c.slots[tokens[done + run]] == slot + run) run++;
    loadKeys(c.row, slot, run, stride, keys + size_t(done) * stride);
    done += run;
  }
  const int padded = roundUp(count, kUnroll);
  std::memset(keys + size_t(count) * stride, 0, size_t(padded - count) * stride * 4);
  return count;
}

// Softmax of every lane over the keys and the padding; what each key receives is added to lines.
template <int NV>
KV_INLINE void addReceived(float* scores, int count, int padding, const float* used, float* lines) {
  for (int v = 0; v < NV; v++) {
    F highest = splat(padding > 0 ? 0.f : -__builtin_inff());
    for (int j = 0; j < count; j++)
      highest = max(highest, load(scores + size_t(j) * kPanel + v * W));
    F total = exp2(F{} - highest) * float(padding);
    for (int j = 0; j < count; j++) {
      float* s = scores + size_t(j) * kPanel + v * W;
      const F weight = exp2(load(s) - highest);
      store(s, weight);
      total += weight;
    }
    const F factor = load(used + v * W) / total;
    for (int j = 0; j < count; j++) {
      float* line = lines + size_t(j) * W;
      store(line, load(line) + load(scores + size_t(j) * kPanel + v * W) * factor);
    }
  }
}

void attend(const Chunk& c) {
  const int d = c.headDim;
  const size_t room = roundUp(c.numTokens, kUnroll);
  float* keys = scratchFloats(room * (d + W + kPanel) + size_t(d) * kPanel);
  float* lines = keys + room * d;
  float* scores = lines + room * W;
  float* queries = scores + room * kPanel;
  std::vector<int32_t> tokens;
  const int count = loadCached(c, d, keys, tokens);
  std::memset(lines, 0, room * W * 4);
  for (int member = 0; count > 0 && member < c.group; member++)
    for (int first = 0; first < c.numTokens; first += kPanel) {
      const int here = c.numTokens - first < kPanel ? c.numTokens - first : kPanel;
      float used[kPanel];
      for (int i = 0; i < kPanel; i++) {
        used[i] = i < here;
        const float* query = c.queries + size_t(first + i) * c.queriesApart + size_t(member) * d;
        for (int k = 0; k < d; k++)
          queries[size_t(k) * kPanel + i] = i < here ? query[k] * kLog2E : 0;
      }
      withVectors(here, [&](auto vectors) {
        constexpr int NV = decltype(vectors)::value;
        panelScores<NV>(keys, d, roundUp(count, kUnroll), queries, scores);
        addReceived<NV>(scores, count, c.padding, used, lines);
      });
    }
  for (int i = 0; i < c.numTokens; i++) c.out[i] = 0;
  const float uniform = float(c.padding) / float(c.chunk);
  for (int j = 0; j < count; j++)
    c.out[tokens[j]] = sum(load(lines + size_t(j) * W)) / float(c.group) + uniform;
}

}  // namespace

extern const AttendChunk attendChunk = attend;

}  // namespace kv::KV_ISA
