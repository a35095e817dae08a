#include "cache.h"

#include <unordered_map>

#include "cache-registry.h"

namespace kv {
namespace {

// Caches of one environment, with the references that keep their memory alive.
struct Caches {
  std::unordered_map<int64_t, js::Pins> pins;
  ~Caches() {
    for (const auto& entry : pins) kv_cache_release(entry.first);
  }
};

Caches& cachesOf(napi_env env) {
  void* data = nullptr;
  js::check(napi_get_instance_data(env, &data), "no instance data");
  return *static_cast<Caches*>(data);
}

// Reads the fields of a descriptor; every array must be long enough for what the ops may touch.
class Reader {
 public:
  Reader(napi_env env, napi_value object, js::Pins& pins)
      : env_(env), object_(object), pins_(pins) {}

  int32_t count(const char* name) const {
    const int64_t value = js::integer(env_, js::property(env_, object_, name), name);
    if (value < 0 || value > INT32_MAX) throw js::Error(std::string(name) + " is out of range");
    return int32_t(value);
  }

  template <class T>
  T* array(const char* name, napi_typedarray_type type, size_t length) const {
    napi_value value = js::property(env_, object_, name);
    const js::Array array = js::array(env_, value, name);
    if (array.type != type) throw js::Error(std::string(name) + " has the wrong element type");
    if (array.bytes < length * sizeof(T))
      throw js::Error(std::string(name) + " needs " + std::to_string(length * sizeof(T)) +
                      " bytes, its array has " + std::to_string(array.bytes));
    pins_.add(value);
    return static_cast<T*>(array.data);
  }

  std::vector<napi_value> list(const char* name) const {
    return js::elements(env_, js::property(env_, object_, name), name);
  }

 private:
  napi_env env_;
  napi_value object_;
  js::Pins& pins_;
};

KvArena readArena(const Reader& read) {
  KvArena arena{};
  arena.blockSize = read.count("blockSize");
  arena.numBlocks = read.count("numBlocks");
  arena.keyDtype = read.count("keyDtype");
  arena.keyWidth = read.count("keyWidth");
  arena.valueDtype = read.count("valueDtype");
  arena.valueWidth = read.count("valueWidth");
  if (arena.keyDtype > kF16 || arena.valueDtype > kF16)
    throw js::Error("keyDtype and valueDtype must be 0 (f32) or 1 (f16)");
  const size_t slots = size_t(arena.numBlocks) * arena.blockSize;
  arena.storage = read.array<uint8_t>("storage", napi_uint8_array,
                                      slots * (keyBytes(arena) + valueBytes(arena)));
  if (reinterpret_cast<uintptr_t>(arena.storage) % 4 != 0)
    throw js::Error("storage must be aligned to 4 bytes");
  arena.positions = read.array<int32_t>("positions", napi_int32_array, slots);
  arena.sumAttention = read.array<float>("sumAttention", napi_float32_array, slots);
  arena.sumSquaredAttention = read.array<float>("sumSquaredAttention", napi_float32_array, slots);
  return arena;
}

}  // namespace

void prepareCaches(napi_env env) {
  auto caches = std::make_unique<Caches>();
  js::check(napi_set_instance_data(
                env, caches.get(),
                [](napi_env, void* data, void*) { delete static_cast<Caches*>(data); }, nullptr),
            "no instance data");
  caches.release();
}

// registerCache(descriptor) → handle: bigint. The descriptor's arrays stay pinned until release.
napi_value registerCache(napi_env env, napi_callback_info info) {
  const napi_value descriptor = js::arguments(env, info, 1)[0];
  js::Pins pins(env);
  const Reader read(env, descriptor, pins);
  KvCache cache{};
  cache.numLayers = read.count("numLayers");
  cache.numQueryHeads = read.count("numQueryHeads");
  cache.numKvHeads = read.count("numKvHeads");
  cache.headDim = read.count("headDim");
  cache.maxSequences = read.count("maxSequences");
  cache.maxBlocksPerRow = read.count("maxBlocksPerRow");
  cache.windowSize = read.count("windowSize");
  const std::vector<napi_value> arenas = read.list("arenas");
  if (arenas.empty() || arenas.size() > std::size(cache.arenas))
    throw js::Error("a cache has 1 to 8 arenas");
  cache.numArenas = int32_t(arenas.size());
  for (size_t i = 0; i < arenas.size(); i++)
    cache.arenas[i] = readArena(Reader(env, arenas[i], pins));

  const size_t layers = size_t(cache.maxSequences) * cache.numLayers;
  const size_t rows = layers * cache.numKvHeads;
  cache.arenaOfLayer = read.array<uint8_t>("arenaOfLayer", napi_uint8_array, layers);
  cache.layerMap = read.array<int32_t>("layerMap", napi_int32_array, cache.numLayers);
  for (int32_t layer = 0; layer < cache.numLayers; layer++)
    if (cache.layerMap[layer] < 0 || cache.layerMap[layer] >= cache.numLayers)
      throw js::Error("layerMap names a layer that does not exist");
  cache.blockTables =
      read.array<int32_t>("blockTables", napi_int32_array, rows * cache.maxBlocksPerRow);
  cache.lengths = read.array<int32_t>("lengths", napi_int32_array, rows);
  cache.nextPositions = read.array<int32_t>("nextPositions", napi_int32_array, cache.maxSequences);
  cache.windowQueries =
      read.array<float>("windowQueries", napi_float32_array,
                        layers * cache.windowSize * cache.numQueryHeads * cache.headDim);

  const int64_t handle = kv_cache_register(cache);
  cachesOf(env).pins.emplace(handle, std::move(pins));
  napi_value result;
  js::check(napi_create_bigint_int64(env, handle, &result), "no bigint");
  return result;
}

// releaseCache(handle: bigint): no run that uses it may be in flight.
napi_value releaseCache(napi_env env, napi_callback_info info) {
  int64_t handle = 0;
  bool lossless = false;
  js::check(napi_get_value_bigint_int64(env, js::arguments(env, info, 1)[0], &handle, &lossless),
            "a cache handle is a bigint");
  auto& pins = cachesOf(env).pins;
  if (pins.erase(handle) == 0) throw js::Error("unknown cache handle");
  kv_cache_release(handle);
  return js::undefined(env);
}

}  // namespace kv
