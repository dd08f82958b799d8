// The driver's C ABI (driver/espy_cql.h) as a class.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/result.h"
#include "cassandra/cells.h"
#include "cassandra/cluster.h"
#include "cassandra/driver/espy_cql.h"

namespace espy::cassandra {

struct Request {
  std::string statement;
  CellWriter values = {};
  std::chrono::milliseconds limit;
  std::uint32_t page_size = 5000;
  std::string page = {};  // Answer::next_page of the page before
  // Without values and as it is: for what changes the schema.
  bool prepare = true;
};

// What came of a request.
struct Answer {
  int status = ESPY_CQL_OK;    // as in espy_cql.h
  int reason = ESPY_CQL_NONE;  // likewise
  std::string message;         // of a failure
  std::uint32_t row_count = 0;
  std::string rows;       // cells, row after row
  std::string next_page;  // empty: no more rows

  bool ok() const { return status == ESPY_CQL_OK; }
};

// Threads: all functions may be called from any thread at once; execute() not from a completion.
class Driver {
 public:
  // Called once for each request, perhaps before submit() returns, otherwise on the driver's own thread: be
  // quick.
  using Completion = std::function<void(Answer)>;

  // As Cluster::open.
  static Result<std::unique_ptr<Driver>> open(const ClusterOptions& options);

  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Ends what is still in flight, with ESPY_CQL_SHUTDOWN, and calls its completions.
  ~Driver();

  void submit(const Request& request, Completion done);

  // As above, and waits.
  Answer execute(const Request& request);

  // As Cluster::losses.
  std::uint64_t losses() const { return espy_cql_losses(cql_); }

 private:
  Driver(espy_cql* cql, std::size_t max_outstanding);

  void fetch();
  Completion take(std::uint64_t tag);

  espy_cql* const cql_;
  const std::size_t max_outstanding_;
  std::mutex mutex_;  // guards the two below
  std::uint64_t last_tag_ = 0;
  std::unordered_map<std::uint64_t, Completion> waiting_;
  std::thread thread_;
};

// The failure as an error: invalid_input for what the operator has to change (login, rights, names), else
// unavailable.
Error error_of(const Answer& answer);

}  // namespace espy::cassandra
