// How other processes of this machine have a store's one writer erase and correct: over a Unix socket beside
// the file, "PATH-socket". Nothing of this can be asked over a network, and of this machine's users only the
// one that runs the writer may ask, and root: those that could write the file themselves.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <variant>

#include "base/descriptor.h"
#include "base/result.h"
#include "store/store.h"
#include "store/writer.h"

namespace espy::store {

struct ErasureRequest {
  Choice choice;
  std::string reason;
};

// What may be asked.
using WriterRequest = std::variant<ErasureRequest, Correction>;

// Returns the request as the one packet that is sent:
//   packet  := field*
//   field   := length ":" bytes ","      (length in decimal; a netstring, D. J. Bernstein 1997)
//   request := "espy-writer-1" "erase" ("id" | "file_name" | "subject") value reason
//            | "espy-writer-1" "correct" id record microseconds label class author note
//   answer  := "done" (records corrections withdrawals log_is_empty)? | "error" code message
std::string serialize(const WriterRequest& request);

// Reads what serialize() writes. Errors: invalid_input.
Result<WriterRequest> parse_writer_request(std::string_view packet);

// The writer's side.
class WriterSocket {
 public:
  // Answers one request after the other, on a thread of its own, until its end. `writer` must outlive it.
  // Errors: unavailable.
  static Result<std::unique_ptr<WriterSocket>> listen(const std::string& store_path, Writer& writer);

  WriterSocket(const WriterSocket&) = delete;
  WriterSocket& operator=(const WriterSocket&) = delete;
  ~WriterSocket();

 private:
  WriterSocket(std::string path, Descriptor listening, Descriptor stop, Writer& writer)
      : path_(std::move(path)), listening_(std::move(listening)), stop_(std::move(stop)), writer_(writer) {}

  void run();
  // Waits until the descriptor can be read; false: the time is over, or the end has come.
  bool wait_for(const Descriptor& descriptor, int milliseconds) const;
  void serve(const Descriptor& client);

  const std::string path_;
  const Descriptor listening_;
  const Descriptor stop_;  // readable when the end has come
  Writer& writer_;
  std::thread thread_;
};

// The asking side; each request has a connection of its own.
// Threads: all functions may be called from any thread at once.
class WriterClient {
 public:
  // Errors: unavailable (nobody listens, or not to us).
  static Result<WriterClient> connect(const std::string& store_path);

  // As in Store.
  Result<Erased> erase(const Choice& choice, const std::string& reason) const;
  Result<void> correct(const Correction& correction) const;

 private:
  explicit WriterClient(std::string path) : path_(std::move(path)) {}

  Result<std::vector<std::string>> ask(const WriterRequest& request) const;

  std::string path_;
};

}  // namespace espy::store
