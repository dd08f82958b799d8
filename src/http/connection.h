// One client's connection: its requests, in the order in which they came, and their answers.
#pragma once

#include <boost/asio/async_result.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/format.h"
#include "http/figures.h"
#include "http/message.h"
#include "http/request_reader.h"
#include "http/routes.h"
#include "http/server.h"
#include "http/stream.h"

namespace espy::http {

// What the connections of one loop know of it and share. Threads: the loop's.
struct LoopState {
  const ServerOptions& options;
  const Routes& routes;
  LoopFigures& figures;
  LineLog* access_log;                  // nullptr: none
  LineLog* slow_log;                    // nullptr: none
  const std::string id_prefix;          // of this loop of this process; behind it requests are numbered
  std::uint64_t request_ids = 0;        // given so far
  std::optional<service::Lane> lane{};  // once the loop runs
  std::string date{};                   // of now, as answers say it
  bool stopping = false;
  SteadyTime idle_deadline = SteadyTime::max();  // when stopping: until then idle connections stay
  SteadyTime stop_deadline = SteadyTime::max();  // when stopping: until then any stay

  bool tells() const { return access_log || slow_log; }
  std::string next_request_id() { return format("{}-{:x}", id_prefix, ++request_ids); }
};

enum class Admission { served, refused };  // refused: there are too many

// One client. Reads a burst of requests, answers them together, and so on.
class Connection {
 public:
  // `tls` is nullptr for a plain connection; `client` is what the limit of rates knows its address by.
  Connection(LoopState& loop, Socket socket, net::ssl::context* tls, std::uint64_t client);

  // Serves it to its end, or tells it that there are too many. The connection must live until then.
  Task run(Admission admission);

  // Ends what takes too long; called now and then.
  void sweep(SteadyTime time);

 private:
  // What the access log will need of a request, or its answer has to repeat.
  struct Told {
    std::string id;
    std::string traceparent;
    Method method;
    std::string path;
  };

  // An answer that has its place in the order.
  struct Slot {
    std::optional<Response> response;
    Body body;
    Afterwards afterwards;
    SteadyTime began;              // when its last byte was there
    std::size_t route = 0;         // its place in the table
    std::unique_ptr<Told> told{};  // none where nobody wants it
  };

  // Whether more bytes are needed, or the buffer still has requests to answer.
  enum class Hunger { hungry, fed };

  Task serve();
  Task refuse();
  void make_room();
  void take_received(std::size_t bytes);
  Hunger take_requests();
  void take_request();
  void put_answer(std::size_t slot, Response response);
  void put_refusal(int status, std::string_view message);
  void give_up_waiting();
  void collect_answers();
  void log_answer(const Slot& slot, std::chrono::nanoseconds duration);
  void prepare_to_read();
  auto answers_to_come();

  LoopState& loop_;
  Stream stream_;
  Socket& socket_ = stream_.socket();
  const std::uint64_t client_;  // of this address (Gate::client_of)
  RequestReader reader_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // of what is unread in the buffer
  std::size_t end_ = 0;
  std::string out_;
  std::vector<Slot> slots_;
  std::string address_;    // the client's; empty where it is not told
  std::string log_lines_;  // of the burst
  std::string slow_lines_;
  std::size_t unanswered_ = 0;
  std::size_t ready_bytes_ = 0;
  bool keep_alive_ = true;
  bool given_up_ = false;  // the burst was answered before the lane did; what it still says is dropped

  // The coroutine, while it waits for its last answer.
  using Waiter = net::async_result<net::use_awaitable_t<Executor>, void()>::handler_type;
  std::optional<Waiter> waiter_;

  // For sweep().
  enum class Phase { idle, reading, answering, writing } phase_ = Phase::idle;
  SteadyTime request_began_ = now();
  SteadyTime deadline_ = SteadyTime::max();
  bool expired_ = false;
};

}  // namespace espy::http
