// One call of gRPC, and what all calls share. Calls are taken as gRPC's generic service gives them, bytes in
// and bytes out: so a call is judged by its head before its message is read, and one class serves every kind
// of method (docs/adr/0022-grpc.md).
#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "grpc/methods.h"
#include "grpc/server.h"
#include "http/message.h"

namespace espy::grpc {

using SteadyTime = std::chrono::steady_clock::time_point;

class Call;

// What all calls share. It outlives the server where a lane still knows a call.
class Calls {
 public:
  Calls(const ServerOptions& server_options, std::unique_ptr<http::Guest> guest)
      : options(server_options), guest_(std::move(guest)) {}

  const ServerOptions options;
  std::atomic<bool> stopping = false;

  // Returns nullptr once the server has left.
  std::shared_ptr<http::Guest> guest() const {
    const std::lock_guard lock(mutex_);
    return guest_;
  }
  void leave() {
    std::shared_ptr<http::Guest> leaving;
    const std::lock_guard lock(mutex_);
    leaving = std::move(guest_);
  }

  using Place = std::list<Call*>::iterator;
  enum class Stay { until_answered, as_long_as_it_likes };
  // Returns nothing when there are too many. Whoever stays as long as he likes, needs no key: such may have a
  // tenth of the room. What asks only how the server is (`is_vital`) finds another tenth when all is taken.
  std::optional<Place> enter(Call* call, Stay stay, bool is_vital) {
    const std::lock_guard lock(mutex_);
    const std::size_t tenth = std::max<std::size_t>(1, options.max_calls / 10);
    if (calls_.size() >= options.max_calls + (is_vital ? tenth : 0)) return {};
    if (stay == Stay::as_long_as_it_likes) {
      if (staying_ >= tenth) return {};
      ++staying_;
    }
    return calls_.insert(calls_.end(), call);
  }
  void forget(Place place, Stay stay) {
    const std::lock_guard lock(mutex_);
    calls_.erase(place);
    if (stay == Stay::as_long_as_it_likes) --staying_;
  }
  // Ends what takes too long, and tells who watches; called now and then.
  void sweep();

 private:
  mutable std::mutex mutex_;  // guards these
  std::shared_ptr<http::Guest> guest_;
  std::list<Call*> calls_;
  std::size_t staying_ = 0;  // of these
};

// One call, from its head to its status. gRPC's threads and the loops' meet in it.
class Call final : public ::grpc::ServerGenericBidiReactor, public std::enable_shared_from_this<Call> {
 public:
  // Takes or refuses a call; it lives until gRPC has done with it.
  static ::grpc::ServerGenericBidiReactor* begin(std::shared_ptr<Calls> calls,
                                                 ::grpc::GenericCallbackServerContext* context) {
    const auto call = std::make_shared<Call>(std::move(calls), context);
    call->self_ = call;
    call->start();
    return call.get();
  }

  Call(std::shared_ptr<Calls> calls, ::grpc::GenericCallbackServerContext* context);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Ends what takes too long, and tells who watches; called now and then.
  void sweep(SteadyTime time);

 private:
  // A request and its answer's place in the order.
  struct Slot {
    SteadyTime began;
    std::size_t bytes = 0;  // of its message
    std::optional<Outcome> outcome{};
  };

  Calls::Stay stay() const;
  void start();
  std::optional<Outcome> deny() const;
  void handle(http::Guest::Seat seat, const std::shared_ptr<Slot>& slot, const ::grpc::ByteBuffer& message);
  Code put(const std::shared_ptr<Slot>& slot, Outcome outcome);
  void count(http::Guest::Seat seat, Code code, SteadyTime began) const;
  void post_count(Code code, SteadyTime began);
  void tell(const Outcome& outcome, SteadyTime began) const;

  // These are called with the mutex locked. No reaction runs within gRPC's functions that they call.
  void refuse(Outcome outcome);
  void advance();
  void watch();
  void read_on();
  void write(const std::string& bytes);
  void finish(const Outcome& outcome);

  const std::shared_ptr<Calls> calls_;
  ::grpc::GenericCallbackServerContext* const context_;  // good until OnDone()
  std::shared_ptr<Call> self_;                           // until OnDone()
  std::optional<Calls::Place> place_;
  const Method* method_ = nullptr;  // none: there is no such method
  const SteadyTime began_ = std::chrono::steady_clock::now();
  const std::chrono::system_clock::time_point deadline_;
  const std::string address_;
  std::string traceparent_;
  std::string request_id_;
  std::string id_;
  std::string subject_;
  http::Request asked_{};  // what the gate looks at

  std::mutex mutex_;  // guards the rest
  ::grpc::ByteBuffer received_;
  ::grpc::ByteBuffer sent_;
  std::deque<std::shared_ptr<Slot>> slots_;
  std::size_t unanswered_bytes_ = 0;  // of theirs
  bool read_one_ = false;
  bool reading_ = false;
  bool read_all_ = false;
  bool writing_ = false;
  SteadyTime write_began_{};
  SteadyTime stirred_ = began_;  // when something came or went last
  bool cancelled_ = false;
  bool finished_ = false;
  bool done_ = false;                   // OnDone() was called: the context is gone
  std::optional<std::string> watched_;  // the service
  std::optional<Health> told_health_;
};

}  // namespace espy::grpc
