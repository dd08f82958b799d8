// A history as it is seen by whoever carries it to another store, a destination: what is to be sent, and how
// far that has got, kept in the history's own database, so that no crash can make the two disagree.
//
// Entries are numbered by their places in the chain (chain.h), which grow in the order of arrival; erasures
// and what was removed leave gaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/uuid.h"
#include "store/record.h"

namespace espy::store {

struct OutgoingCorrection {
  Correction correction;
  std::string model;  // of the record that it corrects
};

struct Outgoing {
  std::int64_t place;
  // The record comes without its correction, which is an entry of its own. An error stands for an entry that
  // is damaged on disk.
  std::variant<Record, OutgoingCorrection, Error> entry;
};

// A record that was erased on request after it may have been sent: what finds it at the destination.
struct Withdrawal {
  Uuid id;
  std::string model;
  Timestamp time;
  std::string file_name;
};

// What waits to be sent.
struct Pending {
  std::int64_t entries = 0;
  std::optional<Timestamp> oldest = {};  // record's time; nothing when no record waits
};

// An entry that is settled at a destination and no dead letter: it has to be there.
struct Carried {
  std::int64_t place;
  Uuid record;
  std::optional<Uuid> correction = {};  // of the record; nothing: it is the record itself
  std::string model;                    // the record's
};

// What was found when a destination was asked whether it has what it has to have.
struct Comparison {
  Timestamp time;            // when it ended
  std::int64_t entries = 0;  // that were looked for
  std::int64_t missing = 0;  // of them, those that were not there

  bool operator==(const Comparison&) const = default;
};

// Threads: all functions may be called from any thread at once. Errors of all: unavailable, corrupt.
class Outbox {
 public:
  virtual ~Outbox() = default;

  // Returns the place up to which nothing needs to be sent any more; 0 at first.
  virtual Result<std::int64_t> settled() = 0;

  // Durable when it returns. From here on retention may remove these entries.
  virtual Result<void> keep_settled(std::int64_t place) = 0;

  // Returns at most `limit` entries behind `place`, in order; none only when there are no more, but for those
  // that are removed meanwhile.
  virtual Result<std::vector<Outgoing>> read(std::int64_t place, std::size_t limit) = 0;

  // Returns what stands behind `place`.
  virtual Result<Pending> pending(std::int64_t place) = 0;

  // Keeps an entry that the destination will never take where people see it, durable when it returns. A
  // second one of the same place changes nothing.
  virtual Result<void> keep_dead_letter(std::int64_t place, const std::string& why) = 0;

  // Returns at most `limit` records that are to be erased at the destination.
  virtual Result<std::vector<Withdrawal>> withdrawals(std::size_t limit) = 0;

  // They are erased there.
  virtual Result<void> keep_withdrawn(std::span<const Uuid> ids) = 0;

  // Keeps what was found where people see it, in place of what was found before.
  virtual Result<void> keep_comparison(const Comparison& comparison) = 0;
};

}  // namespace espy::store
