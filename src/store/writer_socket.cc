#include "store/writer_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/log.h"

namespace espy::store {
namespace {

constexpr std::string_view kProtocol = "espy-writer-1";
// Below what a socket of this kind takes at once (net.core.wmem_default, 208 KiB).
constexpr std::size_t kMaxPacketBytes = std::size_t{128} << 10;

// For a client to send its request, which it does at once.
constexpr int kPatienceMilliseconds = 1000;
constexpr int kForever = -1;
// Too many open files, and the like.
constexpr std::chrono::milliseconds kPauseAfterFailure{100};

using Fields = std::vector<std::string>;

std::string to_packet(const Fields& fields) {
  std::string packet;
  for (const std::string& field : fields) packet += format("{}:{},", field.size(), field);
  return packet;
}

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [end, reason] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (reason != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

std::optional<Fields> parse_packet(std::string_view packet) {
  Fields fields;
  while (!packet.empty()) {
    const std::size_t colon = packet.find(':');
    if (colon == packet.npos) return {};
    const auto size = parse_number<std::size_t>(packet.substr(0, colon));
    packet.remove_prefix(colon + 1);
    if (!size || *size >= packet.size() || packet[*size] != ',') return {};
    fields.emplace_back(packet.substr(0, *size));
    packet.remove_prefix(*size + 1);
  }
  return fields;
}

std::optional<ErasureRequest> parse_erasure(const Fields& fields) {
  if (fields.size() != 5) return {};
  const std::string& chosen_by = fields[2];
  const std::string& value = fields[3];
  ErasureRequest request{.choice = {}, .reason = fields[4]};
  if (chosen_by == "id") {
    request.choice.id = parse_uuid(value);
    if (!request.choice.id) return {};
  } else if (chosen_by == "file_name") {
    request.choice.file_name = value;
  } else if (chosen_by == "subject") {
    request.choice.subject = value;
  } else {
    return {};
  }
  return request;
}

std::optional<Correction> parse_correction(const Fields& fields) {
  if (fields.size() != 9) return {};
  const auto id = parse_uuid(fields[2]);
  const auto record = parse_uuid(fields[3]);
  const auto time = parse_number<std::int64_t>(fields[4]);
  const auto label = parse_number<int>(fields[5]);
  if (!id || !record || !time || !label) return {};
  return Correction{.id = *id,
                    .record = *record,
                    .time = Timestamp(std::chrono::microseconds(*time)),
                    .label = *label,
                    .class_name = fields[6],
                    .author = fields[7],
                    .note = fields[8]};
}

Fields to_fields(const ErasureRequest& request) {
  const Choice& choice = request.choice;
  const auto [chosen_by, value] = choice.id          ? std::pair("id", to_string(*choice.id))
                                  : choice.file_name ? std::pair("file_name", *choice.file_name)
                                                     : std::pair("subject", choice.subject.value_or(""));
  return {std::string(kProtocol), "erase", chosen_by, value, request.reason};
}

Fields to_fields(const Correction& correction) {
  return {std::string(kProtocol),
          "correct",
          to_string(correction.id),
          to_string(correction.record),
          format("{}", correction.time.time_since_epoch().count()),
          format("{}", correction.label),
          correction.class_name,
          correction.author,
          correction.note};
}

Fields to_fields(const Error& error) { return {"error", std::string(to_string(error.code)), error.message}; }

Fields answer(Writer& writer, const ErasureRequest& request) {
  const Result<Erased> erased = writer.erase(request.choice, request.reason);
  if (!erased) return to_fields(erased.error());
  return {"done", format("{}", erased->records), format("{}", erased->corrections),
          format("{}", erased->withdrawals), erased->log_is_empty ? "1" : "0"};
}

Fields answer(Writer& writer, const Correction& correction) {
  const Result<void> corrected = writer.correct(correction);
  return corrected ? Fields{"done"} : to_fields(corrected.error());
}

// What an answer of "error" says; of an espy that knows other codes, that it cannot be understood.
Error to_error(const Fields& answer) {
  if (answer.size() == 3 && answer[0] == "error") {
    for (const ErrorCode code : {ErrorCode::invalid_input, ErrorCode::too_large, ErrorCode::not_found,
                                 ErrorCode::unavailable, ErrorCode::corrupt, ErrorCode::internal}) {
      if (to_string(code) == answer[1]) return {code, answer[2]};
    }
  }
  return {ErrorCode::unavailable, "the process that writes to the store gave an answer of another version"};
}

Error cannot(std::string_view what, const std::string& path) {
  return {ErrorCode::unavailable, format("cannot {} {}: {}", what, path, std::strerror(errno))};
}

std::string socket_path(const std::string& store_path) { return store_path + "-socket"; }

// A socket's address. One that is too long for it is reached through its folder's descriptor, which must stay
// open while the address is used.
class Address {
 public:
  explicit Address(const std::string& path) {
    address_.sun_family = AF_UNIX;
    std::string name = path;
    if (name.size() >= sizeof(address_.sun_path)) {
      const std::filesystem::path full(path);
      folder_.emplace(::open(full.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      name = format("/proc/self/fd/{}/{}", folder_->get(), full.filename().string());
    }
    fits_ = name.size() < sizeof(address_.sun_path);
    if (fits_) name.copy(address_.sun_path, name.size());
  }

  bool bind(int socket) const { return fits() && ::bind(socket, get(), sizeof(address_)) == 0; }
  bool connect(int socket) const { return fits() && ::connect(socket, get(), sizeof(address_)) == 0; }

 private:
  bool fits() const {
    if (!fits_) errno = ENAMETOOLONG;
    return fits_;
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }

  sockaddr_un address_{};
  std::optional<Descriptor> folder_;
  bool fits_ = false;
};

bool send_packet(const Descriptor& socket, const std::string& packet) {
  return ::send(socket.get(), packet.data(), packet.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(packet.size());
}

// Returns the next packet, or nothing when it is too long or none comes.
std::optional<std::string> receive_packet(const Descriptor& socket) {
  std::string packet(kMaxPacketBytes, '\0');
  const ssize_t size = ::recv(socket.get(), packet.data(), packet.size(), MSG_TRUNC);
  if (size <= 0 || static_cast<std::size_t>(size) > packet.size()) return {};
  packet.resize(static_cast<std::size_t>(size));
  return packet;
}

Result<Descriptor> connect_to(const std::string& path) {
  Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (socket.get() < 0 || !Address(path).connect(socket.get())) return cannot("connect to", path);
  return socket;
}

}  // namespace

std::string serialize(const WriterRequest& request) {
  return to_packet(std::visit([](const auto& asked) { return to_fields(asked); }, request));
}

Result<WriterRequest> parse_writer_request(std::string_view packet) {
  const std::optional<Fields> fields = parse_packet(packet);
  if (!fields || fields->size() < 2 || (*fields)[0] != kProtocol) {
    return Error{
        ErrorCode::invalid_input,
        format("the process that writes to the store does not speak this version; it speaks {}", kProtocol)};
  }
  if ((*fields)[1] == "erase") {
    if (auto request = parse_erasure(*fields)) return WriterRequest(*std::move(request));
  } else if ((*fields)[1] == "correct") {
    if (auto request = parse_correction(*fields)) return WriterRequest(*std::move(request));
  }
  return Error{ErrorCode::invalid_input, "this is no request to a writer"};
}

Result<std::unique_ptr<WriterSocket>> WriterSocket::listen(const std::string& store_path, Writer& writer) {
  const std::string path = socket_path(store_path);
  Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  Descriptor stop(::eventfd(0, EFD_CLOEXEC));
  if (socket.get() < 0 || stop.get() < 0) return cannot("make", path);
  // Whoever holds the store's lock owns the name; what is there was left by a writer that died.
  ::unlink(path.c_str());
  if (!Address(path).bind(socket.get())) return cannot("make", path);
  // Nobody can connect before listen(), and then only who may write to the socket.
  if (::chmod(path.c_str(), 0600) != 0 || ::listen(socket.get(), SOMAXCONN) != 0) {
    const Error error = cannot("make", path);
    ::unlink(path.c_str());
    return error;
  }
  std::unique_ptr<WriterSocket> made(new WriterSocket(path, std::move(socket), std::move(stop), writer));
  made->thread_ = std::thread([self = made.get()] { self->run(); });
  return made;
}

WriterSocket::~WriterSocket() {
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
  ::unlink(path_.c_str());
}

bool WriterSocket::wait_for(const Descriptor& descriptor, int milliseconds) const {
  std::array<pollfd, 2> waited = {pollfd{stop_.get(), POLLIN, 0}, pollfd{descriptor.get(), POLLIN, 0}};
  int ready = 0;
  do {
    ready = ::poll(waited.data(), waited.size(), milliseconds);
  } while (ready < 0 && errno == EINTR);
  return ready > 0 && waited[0].revents == 0;
}

void WriterSocket::run() {
  while (wait_for(listening_, kForever)) {
    const Descriptor client(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client.get() < 0) {
      std::this_thread::sleep_for(kPauseAfterFailure);
    } else if (wait_for(client, kPatienceMilliseconds)) {
      serve(client);
    }
  }
}

void WriterSocket::serve(const Descriptor& client) {
  const std::optional<std::string> packet = receive_packet(client);
  if (!packet) return;
  const Result<WriterRequest> request = parse_writer_request(*packet);
  const Fields answered =
      request ? std::visit([&](const auto& asked) { return answer(writer_, asked); }, *request)
              : to_fields(request.error());
  if (!send_packet(client, to_packet(answered))) log::warning(cannot("answer on", path_).message);
}

Result<WriterClient> WriterClient::connect(const std::string& store_path) {
  const std::string path = socket_path(store_path);
  const Result<Descriptor> socket = connect_to(path);
  if (!socket) return socket.error();
  return WriterClient(path);
}

Result<std::vector<std::string>> WriterClient::ask(const WriterRequest& request) const {
  const std::string packet = serialize(request);
  if (packet.size() > kMaxPacketBytes) {
    return Error{ErrorCode::too_large, format("the request to the process that writes to the store has {} "
                                              "bytes, limit is {}",
                                              packet.size(), kMaxPacketBytes)};
  }
  const Result<Descriptor> socket = connect_to(path_);
  if (!socket) return socket.error();
  if (!send_packet(*socket, packet)) return cannot("ask on", path_);
  const std::optional<std::string> answered = receive_packet(*socket);
  if (!answered) {
    return Error{ErrorCode::unavailable,
                 "the process that writes to the store ended before it answered; ask again"};
  }
  const std::optional<Fields> fields = parse_packet(*answered);
  if (!fields || fields->empty() || fields->front() != "done") return to_error(fields.value_or(Fields()));
  return *fields;
}

Result<Erased> WriterClient::erase(const Choice& choice, const std::string& reason) const {
  const Result<Fields> answered = ask(ErasureRequest{choice, reason});
  if (!answered) return answered.error();
  if (answered->size() != 5) return to_error(*answered);
  return Erased{.records = parse_number<std::int64_t>((*answered)[1]).value_or(0),
                .corrections = parse_number<std::int64_t>((*answered)[2]).value_or(0),
                .withdrawals = parse_number<std::int64_t>((*answered)[3]).value_or(0),
                .log_is_empty = (*answered)[4] == "1"};
}

Result<void> WriterClient::correct(const Correction& correction) const {
  const Result<Fields> answered = ask(correction);
  if (!answered) return answered.error();
  return {};
}

}  // namespace espy::store
