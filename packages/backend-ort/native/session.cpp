#include "session.h"

#include "register.h"
#include "runtime.h"
#include "tensor.h"

namespace kv {
namespace {

constexpr napi_type_tag kSessionTag = {0x6b76636163686531, 0x73657373696f6e00};

struct Session {
  OrtSession* handle = nullptr;
  std::vector<std::string> inputs, outputs;
  ~Session() {
    if (handle) runtime().api->ReleaseSession(handle);
  }
};
// What the JavaScript object holds. A run in flight holds the session too, so that it can be
// released or collected at any time.
using SessionRef = std::shared_ptr<Session>;

struct OptionsDeleter {
  void operator()(OrtSessionOptions* options) const { runtime().api->ReleaseSessionOptions(options); }
};
using Options = std::unique_ptr<OrtSessionOptions, OptionsDeleter>;

Options sessionOptions(napi_env env, napi_value given) {
  const OrtApi* api = runtime().api;
  OrtSessionOptions* raw = nullptr;
  check(api->CreateSessionOptions(&raw));
  Options options(raw);
  const int64_t threads = js::integer(env, js::property(env, given, "threads"), "threads");
  if (threads < 1 || threads > 1024) throw js::Error("threads must be in 1 ... 1024");
  check(api->SetIntraOpNumThreads(raw, int(threads)));
  // The shapes of every step differ: plans of their memory would pile up, and an arena would keep
  // the memory of the largest step. Plain allocation measured no slower.
  check(api->DisableMemPattern(raw));
  check(api->DisableCpuMemArena(raw));
  // Errors come as exceptions.
  check(api->SetSessionLogSeverityLevel(raw, ORT_LOGGING_LEVEL_FATAL));
  const bool spinning = js::boolean(env, js::property(env, given, "spinning"), "spinning");
  check(api->AddSessionConfigEntry(raw, "session.intra_op.allow_spinning", spinning ? "1" : "0"));
  if (js::boolean(env, js::property(env, given, "customOps"), "customOps"))
    check(RegisterCustomOps(raw, runtime().base));
  return options;
}

// Files that the model names as external data, given in memory.
void addExternalFiles(napi_env env, napi_value files, OrtSessionOptions* options,
                      js::Pins& pins) {
  std::vector<std::string> names;
  std::vector<char*> buffers;
  std::vector<size_t> lengths;
  for (napi_value file : js::elements(env, files, "external")) {
    napi_value data = js::property(env, file, "data");
    const js::Array array = js::array(env, data, "external data");
    names.push_back(js::text(env, js::property(env, file, "name"), "external name"));
    buffers.push_back(static_cast<char*>(array.data));
    lengths.push_back(array.bytes);
    pins.add(data);
  }
  if (names.empty()) return;
  std::vector<const ORTCHAR_T*> pointers;
  for (const std::string& name : names) pointers.push_back(name.c_str());
  check(runtime().api->AddExternalInitializersFromFilesInMemory(
      options, pointers.data(), buffers.data(), lengths.data(), names.size()));
}

std::vector<std::string> names(const OrtSession* session,
                               decltype(OrtApi::SessionGetInputCount) count,
                               decltype(OrtApi::SessionGetInputName) name) {
  OrtAllocator* allocator = nullptr;
  check(runtime().api->GetAllocatorWithDefaultOptions(&allocator));
  size_t total = 0;
  check(count(session, &total));
  std::vector<std::string> result;
  for (size_t i = 0; i < total; i++) {
    char* text = nullptr;
    check(name(session, i, allocator, &text));
    result.emplace_back(text);
    allocator->Free(allocator, text);
  }
  return result;
}

SessionRef& sessionRef(napi_env env, napi_value object) {
  bool tagged = false;
  void* data = nullptr;
  if (napi_check_object_type_tag(env, object, &kSessionTag, &tagged) != napi_ok || !tagged ||
      napi_unwrap(env, object, &data) != napi_ok)
    throw js::Error("expected a session");
  return *static_cast<SessionRef*>(data);
}

napi_value sessionObject(napi_env env, const SessionRef& session) {
  napi_value object;
  js::check(napi_create_object(env, &object), "no object");
  auto holder = std::make_unique<SessionRef>(session);
  js::check(napi_wrap(
                env, object, holder.get(),
                [](napi_env, void* data, void*) { delete static_cast<SessionRef*>(data); }, nullptr,
                nullptr),
            "cannot wrap a session");
  holder.release();
  js::check(napi_type_tag_object(env, object, &kSessionTag), "cannot tag a session");
  return object;
}

// One run: everything it needs, checked and pinned on the thread of the environment.
struct Run {
  SessionRef session;
  std::vector<Tensor> tensors;
  std::vector<const OrtValue*> inputs;
  std::vector<OrtValue*> outputs;
  std::shared_ptr<js::Pins> pins;

  void execute() {
    std::vector<const char*> inputNames, outputNames;
    for (const std::string& name : session->inputs) inputNames.push_back(name.c_str());
    // Outputs that nobody wants are computed and forgotten.
    for (size_t i = 0; i < outputs.size(); i++) outputNames.push_back(session->outputs[i].c_str());
    check(runtime().api->Run(session->handle, nullptr, inputNames.data(), inputs.data(),
                             inputs.size(), outputNames.data(), outputs.size(), outputs.data()));
  }
};

std::shared_ptr<Run> prepare(napi_env env, napi_callback_info info) {
  const std::vector<napi_value> arguments = js::arguments(env, info, 3);
  auto run = std::make_shared<Run>();
  run->session = sessionRef(env, arguments[0]);
  if (!run->session) throw js::Error("the session was released");
  run->pins = std::make_shared<js::Pins>(env);
  const auto add = [&](napi_value list, const std::vector<std::string>& expected,
                       size_t least, const std::string& kind, auto& values) {
    const std::vector<napi_value> given = js::elements(env, list, kind + "s");
    if (given.size() < least || given.size() > expected.size())
      throw js::Error("the session has " + std::to_string(expected.size()) + " " + kind +
                      "s, got " + std::to_string(given.size()));
    for (size_t i = 0; i < given.size(); i++) {
      run->tensors.push_back(tensorOf(env, given[i], kind + " " + expected[i], *run->pins));
      values.push_back(run->tensors.back().get());
    }
  };
  add(arguments[1], run->session->inputs, run->session->inputs.size(), "input", run->inputs);
  add(arguments[2], run->session->outputs, 1, "output", run->outputs);
  return run;
}

}  // namespace

// createSession(model: Uint8Array, { threads, spinning, customOps, external: [{ name, data }] })
napi_value createSession(napi_env env, napi_callback_info info) {
  const std::vector<napi_value> arguments = js::arguments(env, info, 2);
  const js::Array model = js::array(env, arguments[0], "model");
  auto pins = std::make_shared<js::Pins>(env);
  pins->add(arguments[0]);
  std::shared_ptr<OrtSessionOptions> options(sessionOptions(env, arguments[1]).release(),
                                             OptionsDeleter());
  addExternalFiles(env, js::property(env, arguments[1], "external"), options.get(), *pins);
  auto session = std::make_shared<Session>();
  return js::queue(
      env, "kvcache.createSession", pins,
      [=] {
        const OrtApi* api = runtime().api;
        check(api->CreateSessionFromArray(runtime().env, model.data, model.bytes, options.get(),
                                          &session->handle));
        session->inputs = names(session->handle, api->SessionGetInputCount,
                                api->SessionGetInputName);
        session->outputs = names(session->handle, api->SessionGetOutputCount,
                                 api->SessionGetOutputName);
      },
      [=](napi_env e) { return sessionObject(e, session); });
}

// releaseSession(session): its memory goes back once no run uses it any more.
napi_value releaseSession(napi_env env, napi_callback_info info) {
  sessionRef(env, js::arguments(env, info, 1)[0]).reset();
  return js::undefined(env);
}

// run(session, inputs, outputs): tensors in the order of the model's inputs and of its outputs, of
// which the last ones may be left out.
napi_value run(napi_env env, napi_callback_info info) {
  prepare(env, info)->execute();
  return js::undefined(env);
}

// runAsync(session, inputs, outputs): the same on a worker thread.
napi_value runAsync(napi_env env, napi_callback_info info) {
  const std::shared_ptr<Run> run = prepare(env, info);
  return js::queue(
      env, "kvcache.run", run->pins, [run] { run->execute(); },
      [](napi_env e) { return js::undefined(e); });
}

}  // namespace kv
