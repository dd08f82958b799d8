#include "http/connection.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cassert>
#include <cstring>
#include <exception>
#include <utility>

#include "base/log.h"
#include "http/query.h"

namespace espy::http {
namespace {

constexpr std::size_t kSmallBufferBytes = 2 << 10;  // holds a request with a small picture
constexpr std::size_t kLargeBufferBytes = 64 << 10;
// A pipeliner's requests are answered in bursts of at most so many, or of so many bytes that are ready.
constexpr std::size_t kMaxBurst = 64;
constexpr std::size_t kMaxBurstBytes = 256 << 10;
// A reader that takes less than this has stopped reading (128 kbit/s, below any access network of today).
// Without a least rate one byte now and then would hold a connection and its answers for ever.
constexpr double kLeastBytesPerSecond = 16 << 10;
// How long a closing connection still drops what the client sends, so that it gets to read the answer.
constexpr std::chrono::milliseconds kLingerTime{1000};

std::string_view method_name(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::options:
      return "OPTIONS";
    case Method::other:
      break;
  }
  return "other";
}

}  // namespace

Connection::Connection(LoopState& loop, Socket socket, net::ssl::context* tls, std::uint64_t client)
    : loop_(loop),
      stream_(std::move(socket), tls),
      client_(client),
      reader_({.max_head_bytes = loop.options.max_head_bytes, .max_body_bytes = loop.options.max_body_bytes}),
      buffer_(kSmallBufferBytes) {}

// Suspends the coroutine until put_answer() has the last answer.
auto Connection::answers_to_come() {
  return net::async_initiate<const net::use_awaitable_t<Executor>, void()>(
      [this](Waiter waiter) { waiter_.emplace(std::move(waiter)); }, kAwait);
}

Task Connection::run(Admission admission) {
  try {
    if (admission == Admission::served) {
      co_await serve();
    } else if (!stream_.is_encrypted()) {  // to say it encrypted is too much work in a flood
      co_await refuse();
    }
  } catch (const std::exception& exception) {
    log::error(format("a connection ended by: {}", exception.what()));
  }
  if (unanswered_ > 0) co_await answers_to_come();  // the lane still knows this connection
}

Task Connection::serve() {
  error_code error;
  if (loop_.tells()) {
    const tcp::endpoint client = stream_.socket().remote_endpoint(error);
    if (!error) address_ = client.address().to_string();
  }
  if (stream_.is_encrypted()) {
    phase_ = Phase::reading;
    deadline_ = now() + ticks(loop_.options.request_timeout);
    co_await stream_.begin(error);
    if (error) co_return;
  }
  Hunger hunger = Hunger::hungry;
  while (keep_alive_) {
    if (hunger == Hunger::hungry) {
      prepare_to_read();
      const std::size_t received =
          co_await stream_.read_some(net::buffer(buffer_.data() + end_, buffer_.size() - end_), error);
      const bool cut_off = error == net::error::eof && reader_.state() != RequestReader::State::waiting;
      if (error && !expired_ && !cut_off) co_return;
      take_received(received);
      if (cut_off) {
        put_refusal(400, "the connection ended within the request");
      } else if (expired_) {
        const double limit = loop_.options.request_timeout.count();
        put_refusal(408, format("the request was not complete after {} s", limit));
      }
    }
    hunger = take_requests();
    if (unanswered_ > 0) {
      phase_ = Phase::answering;
      deadline_ = now() + ticks(loop_.options.request_timeout);
      co_await answers_to_come();
    }
    collect_answers();
    const std::chrono::duration<double> sending(static_cast<double>(out_.size()) / kLeastBytesPerSecond);
    if (!out_.empty()) {
      phase_ = Phase::writing;
      deadline_ = now() + ticks(loop_.options.request_timeout + sending);
    }
    for (std::size_t sent = 0; sent < out_.size();) {
      sent += co_await stream_.write_some(net::buffer(out_.data() + sent, out_.size() - sent), error);
      if (error) co_return;
    }
    loop_.figures.sent_bytes.add(out_.size());
    out_.clear();
  }

  // A close with bytes unread would reset the connection, and the client might lose the answer.
  phase_ = Phase::writing;
  deadline_ = now() + kLingerTime;
  if (stream_.is_encrypted()) co_await stream_.end(error);
  socket_.shutdown(tcp::socket::shutdown_send, error);
  while (!error) {
    co_await socket_.async_read_some(net::buffer(buffer_), net::redirect_error(kAwait, error));
  }
}

Task Connection::refuse() {
  put_refusal(503, format("there are {} connections already", loop_.options.max_connections));
  collect_answers();
  phase_ = Phase::writing;
  deadline_ = now() + kLingerTime;
  error_code error;
  co_await socket_.async_write_some(net::buffer(out_), net::redirect_error(kAwait, error));
  if (!error) socket_.shutdown(tcp::socket::shutdown_send, error);
  while (!error) {
    co_await socket_.async_read_some(net::buffer(buffer_), net::redirect_error(kAwait, error));
  }
}

// Sets the clock for what is awaited, and makes room for it.
void Connection::prepare_to_read() {
  const bool idle = reader_.state() == RequestReader::State::waiting;
  if (idle && phase_ != Phase::idle) request_began_ = now();
  phase_ = idle ? Phase::idle : Phase::reading;
  deadline_ = request_began_ + ticks(idle ? loop_.options.idle_timeout : loop_.options.request_timeout);
  make_room();
}

// The buffer is small while that is enough, so that many idle connections cost little. It never needs to hold
// more than what the reader may leave unread, a head, and some.
void Connection::make_room() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= std::exchange(begin_, 0);
  if (end_ == 0 && phase_ == Phase::idle) {
    if (buffer_.size() > kSmallBufferBytes) buffer_ = std::vector<char>(kSmallBufferBytes);
    if (out_.capacity() > kSmallBufferBytes) out_ = {};
  }
  const bool much_to_come = reader_.missing_bytes() > buffer_.size();
  if (much_to_come && buffer_.size() < kLargeBufferBytes) buffer_.resize(kLargeBufferBytes);
  if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
}

void Connection::take_received(std::size_t bytes) {
  if (phase_ == Phase::idle) request_began_ = now();
  end_ += bytes;
  loop_.figures.received_bytes.add(bytes);
}

Connection::Hunger Connection::take_requests() {
  while (keep_alive_ && begin_ < end_) {
    if (slots_.size() == kMaxBurst || ready_bytes_ > kMaxBurstBytes) return Hunger::fed;
    begin_ += reader_.read({buffer_.data() + begin_, end_ - begin_});
    if (reader_.state() == RequestReader::State::refused) {
      put_refusal(reader_.refusal().status, reader_.refusal().message);
    } else if (reader_.state() == RequestReader::State::complete) {
      take_request();
    } else {
      return Hunger::hungry;
    }
  }
  return Hunger::hungry;
}

void Connection::take_request() {
  Request& request = reader_.request();
  request.client = client_;
  if (loop_.stopping) request.afterwards = Afterwards::close;
  keep_alive_ = request.afterwards != Afterwards::close;
  const std::size_t slot = slots_.size();
  const SteadyTime began = now();
  slots_.push_back({.response = {},
                    .body = request.method == Method::head ? Body::leave_out : Body::send,
                    .afterwards = request.afterwards,
                    .began = began,
                    .route = Routes::table().size()});
  if (loop_.tells() || !request.request_id.empty()) {
    slots_[slot].told = std::make_unique<Told>(
        Told{request.request_id.empty() ? loop_.next_request_id() : request.request_id, request.traceparent,
             request.method, std::string(split_target(request.target).path)});
  }
  ++unanswered_;
  loop_.figures.requests_begun.add();
  try {
    slots_[slot].route = loop_.routes.answer(
        request, *loop_.lane, [this, slot](Response response) { put_answer(slot, std::move(response)); });
  } catch (const std::exception& exception) {
    log::error(format("a request failed: {}", exception.what()));
    if (!slots_[slot].response) put_answer(slot, loop_.routes.refusal(request, 500, "internal error"));
  }
  reader_.next();
  request_began_ = began;
}

void Connection::put_answer(std::size_t slot, Response response) {
  if (!given_up_) {
    assert(!slots_[slot].response);
    ready_bytes_ += response.body.size();
    slots_[slot].response = std::move(response);
  }
  if (--unanswered_ > 0 || !waiter_) return;
  Waiter waiter = *std::move(waiter_);
  waiter_.reset();
  waiter();  // goes on in serve(), which may end there and this with it
}

void Connection::put_refusal(int status, std::string_view message) {
  keep_alive_ = false;
  slots_.push_back({.response = loop_.routes.refusal(reader_.request_so_far(), status, message),
                    .body = Body::send,
                    .afterwards = Afterwards::close,
                    .began = request_began_,
                    .route = Routes::table().size()});
  loop_.figures.requests_begun.add();
}

// Answers what has no answer yet, and lets the coroutine go on; run() keeps the connection until the lane has
// forgotten it.
void Connection::give_up_waiting() {
  given_up_ = true;
  keep_alive_ = false;
  const std::string message = format("no answer after {} s; a record may be kept all the same",
                                     loop_.options.request_timeout.count());
  for (Slot& slot : slots_) {
    const bool has_route = slot.route < Routes::table().size();
    const std::string_view path = has_route ? Routes::table()[slot.route].path : std::string_view();
    if (!slot.response) slot.response = Routes::refusal(path, 503, message);
  }
  slots_.back().afterwards = Afterwards::close;
  deadline_ = SteadyTime::max();
  // Not from within the sweep, whose list of connections it may change.
  net::post(stream_.socket().get_executor(),
            [waiter = *std::exchange(waiter_, std::nullopt)]() mutable { waiter(); });
}

// Puts the burst's answers behind one another, to be sent in one piece.
void Connection::collect_answers() {
  const SteadyTime time = now();
  for (Slot& slot : slots_) {
    if (slot.told) slot.response->fields += format("X-Request-Id: {}\r\n", slot.told->id);
    append_response(out_, *slot.response, slot.body, slot.afterwards, loop_.date);
    loop_.figures.of(slot.route, slot.response->status).add(time - slot.began);
    if (loop_.tells()) log_answer(slot, time - slot.began);
  }
  if (!log_lines_.empty()) loop_.access_log->append(log_lines_);
  if (!slow_lines_.empty()) loop_.slow_log->append(slow_lines_);
  log_lines_.clear();
  slow_lines_.clear();
  slots_.clear();
  ready_bytes_ = 0;
  if (keep_alive_ && reader_.state() == RequestReader::State::body && reader_.take_expectation()) {
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  }
}

void Connection::log_answer(const Slot& slot, std::chrono::nanoseconds duration) {
  const AccessLogOptions& options = loop_.options.access_log;
  const bool is_slow = loop_.slow_log && duration > *options.slow;
  if (!loop_.access_log && !is_slow) return;
  AccessEntry entry{.time = system_clock()(),
                    .client = address_,
                    .method = "-",
                    .route = "none",
                    .status = slot.response->status,
                    .bytes = slot.response->body.size(),
                    .duration = duration,
                    .model = slot.response->model,
                    .records = slot.response->told_records()};
  if (slot.told) {  // otherwise it could not be read
    entry.id = slot.told->id;
    entry.traceparent = slot.told->traceparent;
    entry.method = method_name(slot.told->method);
    entry.path = slot.told->path;
  }
  if (slot.route < Routes::table().size()) entry.route = Routes::table()[slot.route].path;
  const std::string line = access_line(entry, options.format);
  if (loop_.access_log) log_lines_ += line;
  if (is_slow) slow_lines_ += line;
}

void Connection::sweep(SteadyTime time) {
  error_code ignored;
  if (phase_ == Phase::answering) {
    if (time >= std::min(deadline_, loop_.stop_deadline) && waiter_) give_up_waiting();
    return;
  }
  if (time >= loop_.stop_deadline || (phase_ == Phase::idle && time >= loop_.idle_deadline)) {
    socket_.close(ignored);
  } else if (time >= deadline_) {
    if (phase_ == Phase::reading) {
      expired_ = true;
      socket_.cancel(ignored);
    } else {
      socket_.close(ignored);
    }
  }
}

}  // namespace espy::http
