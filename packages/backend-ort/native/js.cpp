#include "js.h"

namespace kv::js {

void check(napi_status status, const std::string& what) {
  if (status != napi_ok) throw Error(what);
}

std::vector<napi_value> arguments(napi_env env, napi_callback_info info, size_t count) {
  size_t given = count;
  std::vector<napi_value> values(count);
  check(napi_get_cb_info(env, info, &given, values.data(), nullptr, nullptr), "no arguments");
  if (given < count) throw Error("expected " + std::to_string(count) + " arguments");
  return values;
}

napi_value property(napi_env env, napi_value object, const char* name) {
  napi_value value;
  check(napi_get_named_property(env, object, name, &value), std::string("no property ") + name);
  return value;
}

std::vector<napi_value> elements(napi_env env, napi_value array, const std::string& what) {
  uint32_t length = 0;
  check(napi_get_array_length(env, array, &length), what + " must be an array");
  std::vector<napi_value> values(length);
  for (uint32_t i = 0; i < length; i++)
    check(napi_get_element(env, array, i, &values[i]), what + " must be an array");
  return values;
}

std::string text(napi_env env, napi_value value, const std::string& what) {
  size_t length = 0;
  check(napi_get_value_string_utf8(env, value, nullptr, 0, &length), what + " must be a string");
  std::string result(length, '\0');
  napi_get_value_string_utf8(env, value, result.data(), length + 1, &length);
  return result;
}

int64_t integer(napi_env env, napi_value value, const std::string& what) {
  double number = 0;
  check(napi_get_value_double(env, value, &number), what + " must be a number");
  if (!(number >= -9007199254740991.0 && number <= 9007199254740991.0) ||
      double(int64_t(number)) != number)
    throw Error(what + " must be an integer");
  return int64_t(number);
}

bool boolean(napi_env env, napi_value value, const std::string& what) {
  bool result = false;
  check(napi_get_value_bool(env, value, &result), what + " must be true or false");
  return result;
}

Array array(napi_env env, napi_value value, const std::string& what) {
  static const size_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  Array result{};
  size_t length = 0;
  check(napi_get_typedarray_info(env, value, &result.type, &length, &result.data, nullptr, nullptr),
        what + " must be a typed array");
  if (size_t(result.type) >= std::size(sizes)) throw Error(what + " is an unknown typed array");
  result.bytes = length * sizes[result.type];
  return result;
}

napi_value string(napi_env env, const std::string& value) {
  napi_value result;
  check(napi_create_string_utf8(env, value.data(), value.size(), &result), "no string");
  return result;
}

napi_value undefined(napi_env env) {
  napi_value result = nullptr;
  napi_get_undefined(env, &result);
  return result;
}

void set(napi_env env, napi_value object, const char* name, napi_value value) {
  check(napi_set_named_property(env, object, name, value), std::string("cannot set ") + name);
}

void Pins::add(napi_value value) {
  napi_ref reference = nullptr;
  check(napi_create_reference(env_, value, 1, &reference), "cannot pin a value");
  references_.push_back(reference);
}

namespace {

struct Job {
  std::shared_ptr<Pins> pins;
  std::function<void()> execute;
  std::function<napi_value(napi_env)> finish;
  std::string error;
  bool failed = false;
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;
};

void fail(Job& job, const char* message) {
  job.failed = true;
  job.error = message;
}

void onWorker(napi_env, void* data) {
  Job& job = *static_cast<Job*>(data);
  try {
    job.execute();
  } catch (const std::exception& error) {
    fail(job, error.what());
  }
}

void onDone(napi_env env, napi_status status, void* data) {
  std::unique_ptr<Job> job(static_cast<Job*>(data));
  if (status != napi_ok && !job->failed) fail(*job, "the work was cancelled");
  napi_value value = nullptr;
  if (!job->failed) try {
      value = job->finish(env);
    } catch (const std::exception& error) {
      fail(*job, error.what());
    }
  napi_delete_async_work(env, job->work);
  if (!job->failed) {
    napi_resolve_deferred(env, job->deferred, value);
    return;
  }
  napi_create_error(env, nullptr, string(env, job->error), &value);
  napi_reject_deferred(env, job->deferred, value);
}

}  // namespace

napi_value queue(napi_env env, const char* name, std::shared_ptr<Pins> pins,
                 std::function<void()> execute, std::function<napi_value(napi_env)> finish) {
  auto job = std::make_unique<Job>();
  job->pins = std::move(pins);
  job->execute = std::move(execute);
  job->finish = std::move(finish);
  napi_value promise = nullptr;
  check(napi_create_async_work(env, nullptr, string(env, name), onWorker, onDone, job.get(),
                               &job->work),
        "cannot create work");
  check(napi_create_promise(env, &job->deferred, &promise), "cannot create a promise");
  check(napi_queue_async_work(env, job->work), "cannot queue work");
  job.release();  // onDone frees it
  return promise;
}

}  // namespace kv::js
