#include "cassandra/driver.h"

#include <pthread.h>
#include <signal.h>

#include <array>
#include <cassert>
#include <future>
#include <utility>

#include "base/format.h"

namespace espy::cassandra {
namespace {

// The other side asserts the same numbers (driver/src/lib.rs).
static_assert(sizeof(espy_cql_options) == 112 && sizeof(espy_cql_request) == 72 &&
              sizeof(espy_cql_completion) == 80);

constexpr std::size_t kFetched = 256;  // completions at a time
constexpr std::uint32_t kWaitMilliseconds =
    1000;  // nothing depends on it: completions and the end wake the thread

espy_cql_bytes view(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string copy(espy_cql_bytes bytes) { return {reinterpret_cast<const char*>(bytes.bytes), bytes.size}; }

std::uint32_t milliseconds(std::chrono::milliseconds duration) {
  return static_cast<std::uint32_t>(duration.count());
}

// While it lives, threads that are started get no signals: those belong to the program's own.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

std::string joined(const std::vector<std::string>& hosts) {
  std::string text;
  for (const std::string& host : hosts) text += (text.empty() ? "" : ",") + host;
  return text;
}

}  // namespace

Result<std::unique_ptr<Driver>> Driver::open(const ClusterOptions& options) {
  const std::string hosts = joined(options.hosts);
  espy_cql_options given{};
  given.abi = ESPY_CQL_ABI;
  given.io_threads = 1;
  given.max_outstanding = static_cast<std::uint32_t>(options.max_outstanding);
  given.connect_ms = milliseconds(options.connect_limit);
  given.keepalive_ms = milliseconds(options.keepalive);
  given.consistency =
      options.consistency == Consistency::local_one ? ESPY_CQL_LOCAL_ONE : ESPY_CQL_LOCAL_QUORUM;
  given.tls = options.tls;
  given.hosts = view(hosts);
  given.datacenter = view(options.datacenter);
  given.user = view(options.user);
  given.password = view(options.password);
  given.ca_file = view(options.ca_file);

  const SignalsBlocked blocked;
  espy_cql* cql = nullptr;
  std::array<char, 512> message{};
  switch (espy_cql_open(&given, &cql, message.data(), message.size())) {
    case ESPY_CQL_DONE:
      return std::unique_ptr<Driver>(new Driver(cql, options.max_outstanding));
    case ESPY_CQL_BAD_OPTIONS:
      return Error{ErrorCode::invalid_input, format("cassandra: {}", message.data())};
    case ESPY_CQL_ABSENT:
      return Error{ErrorCode::invalid_input, "this espy was built without Cassandra (ESPY_CASSANDRA=OFF)"};
    default:
      return Error{ErrorCode::internal, "the Cassandra driver panicked while it was opened"};
  }
}

Driver::Driver(espy_cql* cql, std::size_t max_outstanding)
    : cql_(cql), max_outstanding_(max_outstanding), thread_([this] { fetch(); }) {}

Driver::~Driver() {
  espy_cql_close(cql_, 0);
  thread_.join();
  assert(waiting_.empty());
  espy_cql_free(cql_);
}

void Driver::submit(const Request& request, Completion done) {
  espy_cql_request given{};
  given.statement = view(request.statement);
  given.values = view(request.values.bytes());
  given.value_count = request.values.count();
  given.prepare = request.prepare;
  given.timeout_ms = milliseconds(request.limit);
  given.page_size = request.page_size;
  given.page = view(request.page);
  {
    const std::lock_guard lock(mutex_);
    given.tag = ++last_tag_;
    waiting_.emplace(given.tag, std::move(done));
  }
  const int status = espy_cql_submit(cql_, &given);
  if (status == ESPY_CQL_DONE) return;
  Answer answer;
  answer.status = ESPY_CQL_RETRY;
  switch (status) {
    case ESPY_CQL_FULL:
      answer.reason = ESPY_CQL_OVERLOADED;
      answer.message = format("{} requests wait for Cassandra, which is the limit", max_outstanding_);
      break;
    case ESPY_CQL_CLOSED:
      answer.reason = ESPY_CQL_SHUTDOWN;
      answer.message = "the Cassandra driver is being closed";
      break;
    default:
      answer.reason = ESPY_CQL_OTHER;
      answer.message = "the Cassandra driver panicked";
  }
  take(given.tag)(std::move(answer));
}

Answer Driver::execute(const Request& request) {
  assert(std::this_thread::get_id() != thread_.get_id());
  std::promise<Answer> promise;
  std::future<Answer> answer = promise.get_future();
  submit(request, [&](Answer came) { promise.set_value(std::move(came)); });
  return answer.get();
}

Driver::Completion Driver::take(std::uint64_t tag) {
  const std::lock_guard lock(mutex_);
  const auto found = waiting_.find(tag);
  assert(found != waiting_.end());
  Completion done = std::move(found->second);
  waiting_.erase(found);
  return done;
}

void Driver::fetch() {
  std::array<espy_cql_completion, kFetched> completions;
  while (true) {
    const std::int64_t count = espy_cql_wait(cql_, completions.data(), completions.size(), kWaitMilliseconds);
    if (count < 0) return;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      espy_cql_completion& completion = completions[i];
      Answer answer;
      answer.status = completion.status;
      answer.reason = completion.reason;
      answer.message = copy(completion.message);
      answer.row_count = completion.row_count;
      answer.rows = copy(completion.rows);
      answer.next_page = copy(completion.next_page);
      const std::uint64_t tag = completion.tag;
      espy_cql_release(&completion);
      take(tag)(std::move(answer));
    }
  }
}

namespace {

// What lies behind a connection that fails, where OpenSSL's words (its error strings do not change) or the
// moment of the failure tell; ends with a colon and a space.
std::string_view cause_of(std::string_view message) {
  const auto says = [&](std::string_view piece) { return message.find(piece) != std::string_view::npos; };
  if (says("certificate verify failed")) {
    return "the node's certificate is not signed by the given authority, or does not name its address: ";
  }
  if (says("wrong version number")) return "the node speaks no TLS: ";
  if (says("Request: OPTIONS") && says("Connection broken")) {
    return "the node ended the connection at once, as one does that wants TLS: ";
  }
  return {};
}

}  // namespace

Error error_of(const Answer& answer) {
  switch (answer.reason) {
    case ESPY_CQL_LOGIN_REFUSED:
      return {ErrorCode::invalid_input, format("cassandra refuses the login: {}", answer.message)};
    case ESPY_CQL_UNAUTHORIZED:
      return {ErrorCode::invalid_input, format("cassandra refuses the user: {}", answer.message)};
    case ESPY_CQL_INVALID:
      return {ErrorCode::invalid_input, format("cassandra refuses the statement: {}", answer.message)};
    case ESPY_CQL_NO_CONNECTION:
      return {ErrorCode::unavailable,
              format("cassandra cannot be reached: {}{}", cause_of(answer.message), answer.message)};
    default:
      return {ErrorCode::unavailable, format("cassandra: {}", answer.message)};
  }
}

}  // namespace espy::cassandra
