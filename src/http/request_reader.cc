#include "http/request_reader.h"

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cassert>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "base/format.h"
#include "http/keys.h"
#include "http/trace_context.h"

namespace espy::http {
namespace {

namespace beast = boost::beast;
using beast::error_code;

// Room that is taken for a body before its bytes are there; a length alone must not cost memory.
constexpr std::size_t kMaxReservedBytes = 64 << 10;

// What all chunks of one body may have in extensions. No client that we know of sends any; a few signatures
// would fit. Without a limit they are work that brings nothing (CVE-2023-39326 was this in Go's server).
constexpr std::size_t kMaxExtensionBytes = 1024;

// RFC 9110 section 7.2: a host and perhaps a port, of RFC 3986's characters. It may be empty.
bool is_host(std::string_view value) {
  constexpr std::string_view kMarks = "-._~!$&'()*+;=%:[]";
  return std::ranges::all_of(value, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != kMarks.npos;
  });
}

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == '\x7f'; });
}

}  // namespace

// Collects what the routes need of one request, and says why the head cannot be accepted.
class RequestReader::Parser {
 public:
  explicit Parser(const RequestLimits& limits) : limits_(limits) { begin(); }

  void begin() {
    request_.target.clear();
    request_.content_type.clear();
    request_.accept.clear();
    request_.subject.clear();
    request_.key.clear();
    request_.cookie.clear();
    request_.host.clear();
    request_.origin.clear();
    request_.fetch_site.clear();
    request_.is_preflight = false;
    request_.id.clear();
    request_.content_encoding.clear();
    request_.accept_encoding.clear();
    request_.json_length.clear();
    request_.request_id.clear();
    request_.traceparent.clear();
    request_.body.clear();
    if (request_.body.capacity() > kMaxReservedBytes) request_.body = {};  // who idles keeps no large body
    request_.method = Method::other;
    expects_continue_ = false;
    refusal_.reset();
    grammar_.emplace(*this);
    grammar_->eager(false);                                             // so that the head's end shows
    grammar_->header_limit(std::numeric_limits<std::uint32_t>::max());  // RequestReader counts
    grammar_->body_limit(boost::none);  // accept_head() and RequestReader check
  }

  // The grammar of Beast, whose findings come as calls.
  class Grammar final : public beast::http::basic_parser<true> {
   public:
    explicit Grammar(Parser& owner) : owner_(owner) {}

   private:
    using View = beast::string_view;

    void on_request_impl(beast::http::verb verb, View, View target, int version, error_code&) override {
      owner_.request_.method = verb == beast::http::verb::get       ? Method::get
                               : verb == beast::http::verb::head    ? Method::head
                               : verb == beast::http::verb::post    ? Method::post
                               : verb == beast::http::verb::options ? Method::options
                                                                    : Method::other;
      owner_.request_.target.assign(target.data(), target.size());
      owner_.version_ = version;
      owner_.hosts_ = 0;
      owner_.request_ids_ = 0;
      owner_.traceparents_ = 0;
      owner_.lengths_ = 0;
      owner_.transfer_encodings_ = 0;
      owner_.extension_bytes_ = 0;
      owner_.in_head_ = true;
    }
    void on_response_impl(int, View, int, error_code&) override {}
    void on_field_impl(beast::http::field name, View text, View value, error_code&) override {
      if (!owner_.in_head_) return;
      // RFC 9112 section 5.2: to be refused, as proxies read it differently.
      if (owner_.is_folded({text.data(), text.size()}, {value.data(), value.size()})) {
        owner_.refuse(400, "a header field goes on in the next line");
      }
      owner_.take_field(name, {value.data(), value.size()});
      if (name == beast::http::field::unknown) owner_.take_unknown_field(text, {value.data(), value.size()});
    }
    void on_header_impl(error_code& error) override {
      owner_.in_head_ = false;
      owner_.accept_head();
      if (owner_.refusal_) error = beast::http::error::bad_value;
    }
    void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code&) override {
      if (length) {
        owner_.request_.body.reserve(
            static_cast<std::size_t>(std::min<std::uint64_t>(*length, kMaxReservedBytes)));
      }
    }
    std::size_t on_body_impl(View piece, error_code&) override { return owner_.take_body(piece); }
    void on_chunk_header_impl(std::uint64_t, View extensions, error_code& error) override {
      owner_.take_extensions({extensions.data(), extensions.size()});
      if (owner_.refusal_) error = beast::http::error::bad_chunk_extension;
    }
    std::size_t on_chunk_body_impl(std::uint64_t, View piece, error_code&) override {
      return owner_.take_body(piece);
    }
    void on_finish_impl(error_code&) override {}

    Parser& owner_;
  };

  // Beast's findings until the next call are views into these bytes.
  Grammar& grammar_of(std::string_view input) {
    input_ = input;
    return *grammar_;
  }
  Grammar& grammar() { return *grammar_; }
  Request& request() { return request_; }
  std::optional<Refusal>& refusal() { return refusal_; }
  bool take_expectation() { return std::exchange(expects_continue_, false); }

 private:
  void take_field(beast::http::field name, std::string_view value) {
    switch (name) {
      case beast::http::field::host:
        ++hosts_;
        if (!is_host(value)) refuse(400, "the Host field is not a host and a port");
        request_.host = value;
        break;
      case beast::http::field::authorization:
        if (const std::string_view key = key_in(value); !key.empty()) request_.key = key;
        break;
      case beast::http::field::cookie:
        request_.cookie += request_.cookie.empty() ? "" : "; ";
        request_.cookie += value;
        break;
      case beast::http::field::origin:
        request_.origin = value;
        break;
      case beast::http::field::sec_fetch_site:
        request_.fetch_site = value;
        break;
      case beast::http::field::access_control_request_method:
        request_.is_preflight = true;
        break;
      case beast::http::field::content_length:
        // Beast takes "5, 5", and 5 said twice, for 5 (RFC 9110 section 8.6 leaves it open); who stands
        // before us may not.
        if (++lengths_ > 1 || value.find(',') != value.npos) {
          refuse(400, "the request says its Content-Length more than once");
        }
        break;
      case beast::http::field::content_type:
        request_.content_type = value;
        break;
      case beast::http::field::accept:
        request_.accept += value;
        break;
      case beast::http::field::content_encoding:
        append(request_.content_encoding, value);
        break;
      case beast::http::field::accept_encoding:
        append(request_.accept_encoding, value);
        break;
      case beast::http::field::expect:
        expects_continue_ = beast::iequals(value, "100-continue");
        if (!expects_continue_) refuse(417, "the only expectation that can be met is 100-continue");
        break;
      case beast::http::field::transfer_encoding:
        ++transfer_encodings_;
        // Beast takes an unknown coding for no body at all, and then its bytes for the next request.
        if (!beast::iequals(value, "chunked"))
          refuse(501, "the only transfer encoding that is known is chunked");
        break;
      default:
        break;
    }
  }

  void take_extensions(std::string_view extensions) {
    extension_bytes_ += extensions.size();
    if (extension_bytes_ > kMaxExtensionBytes) {
      refuse(400, format("chunks have more than {} bytes of extensions", kMaxExtensionBytes));
    }
    // A line that ends within quotation marks for one reader, and for the other does not.
    if (has_control(extensions)) refuse(400, "a chunk's extension has a control character");
  }

  // A folded value is put together elsewhere by Beast, but where its first line was empty.
  bool is_folded(std::string_view name, std::string_view value) const {
    if (value.empty()) return false;
    const char* begin = name.data() + name.size();
    const bool is_input =
        std::less<>()(begin, value.data()) && std::less<>()(value.data(), input_.data() + input_.size());
    if (!is_input) return true;
    return std::string_view(begin, static_cast<std::size_t>(value.data() - begin)).find('\n') !=
           std::string_view::npos;
  }

  // Those that Beast has no number for.
  void take_unknown_field(beast::string_view name, std::string_view value) {
    if (beast::iequals(name, "espy-subject")) request_.subject = value;
    if (beast::iequals(name, "x-api-key") && request_.key.empty())
      request_.key = value;  // Authorization goes first
    if (beast::iequals(name, "idempotency-key")) request_.id = value;
    // What cannot be passed on, or was said twice, is as if it had not been said (Trace Context, 3.2.2.5).
    if (beast::iequals(name, "x-request-id")) {
      request_.request_id = is_request_id(value) && ++request_ids_ == 1 ? value : "";
    }
    if (beast::iequals(name, "traceparent")) {
      request_.traceparent = is_traceparent(value) && ++traceparents_ == 1 ? value : "";
    }
    if (beast::iequals(name, "inference-header-content-length")) append(request_.json_length, value);
  }

  // Several fields of one name are one list (RFC 9110 section 5.2).
  static void append(std::string& list, std::string_view value) {
    if (!list.empty()) list += ", ";
    list += value;
  }

  // The first reason counts.
  void refuse(int status, std::string message) {
    if (!refusal_) refusal_ = Refusal{status, std::move(message)};
  }

  void accept_head() {
    // RFC 9112 section 3.2: exactly one Host in HTTP/1.1; Beast does not look.
    if (hosts_ > 1 || (hosts_ == 0 && version_ >= 11)) {
      refuse(400, format("request has {} Host fields, must have 1", hosts_));
    }
    // RFC 9112 section 6.1: HTTP/1.0 has no transfer encodings, and a second one hides the first.
    if (transfer_encodings_ > 1 || (transfer_encodings_ == 1 && version_ < 11)) {
      refuse(400, "request has a transfer encoding that its version does not allow");
    }
    if (const auto length = grammar_->content_length(); length && *length > limits_.max_body_bytes) {
      refuse(413, format("body has {} bytes, limit is {}", *length, limits_.max_body_bytes));
    }
    if (version_ < 11) expects_continue_ = false;  // RFC 9110 section 10.1.1
    request_.afterwards = !grammar_->keep_alive() ? Afterwards::close
                          : version_ < 11         ? Afterwards::say_keep_open
                                                  : Afterwards::keep_open;
  }

  std::size_t take_body(beast::string_view piece) {
    request_.body.append(piece.data(), piece.size());
    expects_continue_ = false;  // who sends does not wait
    return piece.size();
  }

  RequestLimits limits_;
  Request request_;
  int version_ = 11;
  std::string_view input_;
  int hosts_ = 0;
  int request_ids_ = 0;
  int traceparents_ = 0;
  int lengths_ = 0;
  int transfer_encodings_ = 0;
  std::size_t extension_bytes_ = 0;
  bool in_head_ = true;  // trailers behind a chunked body come as fields, too
  bool expects_continue_ = false;
  std::optional<Refusal> refusal_;
  std::optional<Grammar> grammar_;
};

RequestReader::RequestReader(const RequestLimits& limits)
    : limits_(limits), parser_(std::make_unique<Parser>(limits)) {}

RequestReader::~RequestReader() = default;

void RequestReader::refuse(int status, std::string message) {
  refusal_ = {status, std::move(message)};
  state_ = State::refused;
}

std::size_t RequestReader::read(std::string_view bytes) {
  assert(state_ != State::complete && state_ != State::refused);
  std::size_t used = 0;
  if (state_ == State::waiting) {
    // An empty line before a request is to be ignored (RFC 9112 section 2.2).
    while (bytes.substr(used).starts_with("\r\n")) used += 2;
    if (used == bytes.size() || bytes.substr(used) == "\r") return used;
    state_ = State::head;
  }

  Parser::Grammar& grammar = parser_->grammar();
  while (used < bytes.size()) {
    error_code error;
    const std::string_view rest = bytes.substr(used);
    // "0 CR LF CR LF" is still to come of a chunked body, and Beast asserts that it is not asked with less.
    constexpr std::size_t kLastChunkBytes = 5;
    if (state_ == State::body && grammar.chunked() && rest.size() < kLastChunkBytes) return used;
    const std::size_t step =
        parser_->grammar_of(rest).put(boost::asio::const_buffer(rest.data(), rest.size()), error);
    used += step;
    wire_bytes_ += step;

    if (parser_->refusal()) {
      refuse(parser_->refusal()->status, std::move(parser_->refusal()->message));
      return used;
    }
    if (error && error != beast::http::error::need_more) {
      refuse(400, "malformed request: " + error.message());
      return used;
    }
    const std::size_t unread = bytes.size() - used;
    if (state_ == State::head) {
      // What is read of a head in steps has no limit in Beast. The whole head counts, also what waits unread.
      const bool done = grammar.is_header_done();
      if (wire_bytes_ + (done ? 0 : unread) > limits_.max_head_bytes) {
        refuse(431, format("head has more than {} bytes", limits_.max_head_bytes));
        return used;
      }
      if (done) {
        state_ = State::body;
        wire_bytes_ = 0;
      }
    } else if (error && unread > limits_.max_head_bytes) {
      refuse(400, format("a chunk's header or the trailer has more than {} bytes", limits_.max_head_bytes));
      return used;
    }
    // Chunk headers have no limit in Beast either, so a chunked body is counted with its frame.
    if (state_ == State::body && wire_bytes_ > limits_.max_body_bytes) {
      refuse(413, format("body has more than {} bytes", limits_.max_body_bytes));
      return used;
    }
    if (grammar.is_done()) {
      state_ = State::complete;
      return used;
    }
    if (step == 0 || error) return used;
  }
  return used;
}

bool RequestReader::take_expectation() { return parser_->take_expectation(); }

std::uint64_t RequestReader::missing_bytes() const {
  if (state_ != State::body) return 0;
  const auto missing = parser_->grammar().content_length_remaining();
  return missing ? *missing : 0;
}

const Request& RequestReader::request_so_far() const { return parser_->request(); }

Request& RequestReader::request() {
  assert(state_ == State::complete);
  return parser_->request();
}

void RequestReader::next() {
  parser_->begin();
  state_ = State::waiting;
  wire_bytes_ = 0;
}

}  // namespace espy::http
