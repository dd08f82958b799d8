// A durable, append-only history of predictions. Start here.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/chain.h"
#include "store/outbox.h"
#include "store/record.h"

namespace espy::store {

enum class Access {
  read_write,  // the one writer
  read_only,   // may stand beside a writer, also of another process
  // As read_write where nobody writes. Where another process does, that one erases and corrects what this one
  // asks for; appends are refused.
  through_writer,
};

struct StoreOptions {
  Access access = Access::read_write;
  // Uploads larger than this are not kept beside their record; their digest always is. 0 keeps none.
  std::size_t max_kept_upload_bytes = std::size_t{1} << 20;
  // Retention: records older than this, or the oldest ones while the history has more bytes than that, are
  // removed little by little. Without: everything is kept.
  std::optional<std::chrono::seconds> max_age = std::nullopt;
  std::optional<std::uint64_t> max_bytes = std::nullopt;
  // A clock that jumps ahead must not make everything old at once, so for retention by age time begins where
  // it was when the store was last open with it (the first time: at the newest record's), and from there
  // follows the clock at most so many times as fast as time passes.
  int retention_pace = 2;
  Clock clock = system_clock();
  bool keeps_upload(std::uint64_t bytes) const { return bytes > 0 && bytes <= max_kept_upload_bytes; }
  // Appends that wait for the disk; one more is refused.
  std::size_t max_pending_records = 16384;
  std::size_t max_pending_bytes = std::size_t{256} << 20;
};

// Which records; every condition that is set must hold.
struct Query {
  std::optional<Timestamp> from = {};   // at or after
  std::optional<Timestamp> until = {};  // before
  std::optional<std::string> model = {};
  std::optional<int> label = {};
  std::optional<float> min_confidence = {};
  std::optional<float> max_confidence = {};
  std::optional<std::string> file_name = {};  // exactly
  std::optional<std::string> subject = {};    // exactly; not empty
  std::optional<Uuid> before = {};            // the cursor: records with a smaller id
  bool oldest_first = false;                  // then the cursor is `after`
  std::optional<Uuid> after = {};             // records with a greater id
  int limit = 50;                             // 1 to 1,000
};

// Records in order of their ids.
struct Page {
  std::vector<Record> records;
  std::optional<Uuid> next;  // the next page's Query::before or after; nothing on the last page
};

// What to erase; exactly one is set.
struct Choice {
  std::optional<Uuid> id = {};
  std::optional<std::string> file_name = {};
  std::optional<std::string> subject = {};
};

struct Erased {
  std::int64_t records = 0;
  std::int64_t corrections = 0;
  std::int64_t withdrawals = 0;  // at destinations (outbox.h), to be erased when they can be reached
  // Whether the write-ahead log was emptied. If not, a reader held it, and what was erased can still lie in
  // it until the next checkpoint that nobody holds up.
  bool log_is_empty = false;
};

// How often something took how long.
struct Histogram {
  // The upper bounds of the buckets, in seconds; the last bucket has none.
  static constexpr std::array<double, 10> kBounds = {0.0002, 0.0005, 0.001, 0.002, 0.005,
                                                     0.01,   0.02,   0.05,  0.1,   1};
  std::array<std::int64_t, kBounds.size() + 1> counts{};
  std::int64_t count = 0;
  double sum = 0;
  double greatest = 0;

  void add(std::chrono::duration<double> duration);
};

// What a writer has done since it began. At every moment accepted == durable + failed + waiting.
struct WriterStatus {
  std::int64_t accepted = 0;  // appends that were queued
  std::int64_t durable = 0;   // of them, answered with success
  std::int64_t failed = 0;    // of them, answered with an error
  std::int64_t waiting = 0;   // of them, not answered yet
  std::int64_t refused = 0;   // appends that were not queued
  std::chrono::duration<double> oldest_waiting{};
  Histogram commits;      // COMMIT, which ends with the fsync; of records and of everything else
  Histogram checkpoints;  // each holds up the commits behind it, as does
  Histogram retentions;   // each step of retention
};

// What whoever carries a history to a destination has done since it began.
struct ForwardingStatus {
  std::int64_t confirmed_place = 0;  // everything up to here is confirmed or a dead letter
  Pending pending;                   // behind that
  std::uint64_t confirmed = 0;       // answers that confirm an entry, one that was sent again among them
  std::uint64_t rejected = 0;        // entries that became dead letters
  std::uint64_t retries = 0;         // sendings that had to be repeated
  std::uint64_t losses = 0;          // times that entries were sent again because a node had gone away
  std::uint64_t comparisons = 0;     // that came to their end
  std::uint64_t missing = 0;         // settled entries that they did not find there
  std::uint64_t sent_again = 0;      // of them, those that were confirmed again
  std::uint64_t to_send_again = 0;   // of them, those that were not yet
  std::uint64_t in_flight = 0;
  bool connected = false;  // the last answer was not a failure
  std::string problem;     // the newest failure while not connected
};

// How far a history has been carried to a destination (outbox.h).
struct DestinationStatus {
  std::string name;
  std::int64_t settled = 0;       // the place up to which everything is there for good, or a dead letter
  Pending pending;                // behind that
  std::int64_t dead_letters = 0;  // entries that it will never take
  std::int64_t withdrawals = 0;   // records that are erased here and not there yet
  std::optional<Comparison> comparison;        // the last one that came to its end
  std::optional<ForwardingStatus> forwarding;  // while this store carries it there
};

// What a history holds.
struct HistoryStatus {
  std::int64_t records = 0;
  std::int64_t corrections = 0;
  std::int64_t erasures = 0;
  std::int64_t expired_records = 0;  // removed by retention, since the history began
  std::int64_t erased_records = 0;   // removed on request, likewise
  std::uint64_t bytes = 0;           // of the database, without its log and its free pages
  std::uint64_t free_bytes = 0;
  ChainPoint start;
  ChainPoint head;
  std::optional<Timestamp> oldest;
  std::optional<Timestamp> newest;
  std::vector<Erasure> newest_erasures;  // up to ten, newest first
  std::vector<DestinationStatus> destinations;
  std::optional<WriterStatus> writer;  // when this store is the writer
};

// What verify() found.
struct Verification {
  std::int64_t records = 0;
  std::int64_t uploads = 0;
  std::int64_t corrections = 0;
  std::int64_t erasures = 0;  // entries that say that something was erased
  std::int64_t removed = 0;   // places whose content was erased, or expired before all that is older
  ChainPoint start;           // everything up to here has expired
  ChainPoint head;           // note it: with it a later verify() knows whether anything before it was changed
  std::int64_t damages = 0;  // 0: the history is sound
  std::vector<std::string> shown_damages;  // what the first hundred are
};

// Threads: all functions may be called from any thread at once.
class Store {
 public:
  // Called once for each append, with its outcome, on the writer's thread: be quick, never wait there.
  using Completion = std::function<void(Result<void>)>;

  // Opens "sqlite:PATH" or "sqlite::memory:"; creates or migrates the schema when it may write.
  // Errors: invalid_input (another scheme), not_found (read_only and no such file), unavailable (cannot be
  // opened or written; another process is its writer, and for through_writer: one that takes no requests),
  // corrupt (not a store; made by a newer espy).
  static Result<std::unique_ptr<Store>> open(std::string_view url, const StoreOptions& options = {});

  // Finishes every append that was accepted.
  virtual ~Store() = default;

  // Queues the entry and returns at once. `done` gets success when both are committed and
  // fsynced, so that they survive a loss of power; records that are queued while one commit runs share the
  // next. A second append of the same id changes nothing and succeeds. Errors (by `done`, perhaps before
  // append returns): unavailable (queue full, disk full, commit failed, read only, being closed),
  // invalid_input (a confidence that is not a finite number, a label that is not from 0 to 32,767).
  // The store holds the entry until it calls `done`, and no longer.
  virtual void append(std::shared_ptr<const Entry> entry, Completion done) = 0;
  void append(Record record, Upload upload, Completion done);

  // As append(), of several that one commit takes: all of them are kept, or none.
  virtual void append_together(std::vector<std::shared_ptr<const Entry>> entries, Completion done) = 0;

  // As above, and waits.
  Result<void> append(Record record, Upload upload);

  // Returns who has a record when its append succeeds; nothing when that can only be this disk.
  virtual std::optional<Holder> holder() const { return {}; }

  // Appends a correction of a record, durable like a record when `done` gets success; a second append of the
  // same id changes nothing. Every read shows a record's newest correction. Errors (by `done`): not_found (no
  // such record), invalid_input (its label or a text; check() in writer.h), unavailable.
  virtual void correct(Correction correction, Completion done) = 0;
  Result<void> correct(Correction correction);

  // Removes records, their uploads and corrections for good: their bytes are overwritten in the database.
  // What remains is that something was erased, when, why (`reason`), and by which kind of choice. Appends go
  // on between its steps. Errors: not_found (no record is chosen), invalid_input (nothing, or more than one
  // choice), unavailable, corrupt.
  virtual Result<Erased> erase(const Choice& choice, const std::string& reason) = 0;

  // Writes a copy of the whole history as it is at one moment, verified, under a name that does not exist
  // yet. Appends go on meanwhile, but the write-ahead log grows until it is done. Errors: invalid_input
  // (`path` exists), unavailable, corrupt (the copy is damaged; it is removed).
  virtual Result<Verification> backup(const std::filesystem::path& path) = 0;

  // Opens the way out to a destination, whose name is the caller's choice. From now on retention removes only
  // what is settled there, an erased record is to be erased there too, and appends are refused while
  // `max_pending` entries or more are not settled. The store must outlive the outbox.
  // Errors: unavailable (among them: read only).
  virtual Result<std::unique_ptr<Outbox>> open_outbox(const std::string& destination,
                                                      std::int64_t max_pending) = 0;

  // Returns what a destination has to have of the next records behind `after`, at most `limit`, in order of
  // their ids, and behind them of their corrections; nothing only when there are no more.
  // Errors: unavailable, corrupt.
  virtual Result<std::vector<Carried>> carried(const std::string& destination, const Uuid& after,
                                               std::size_t limit) = 0;

  virtual Result<HistoryStatus> status() = 0;

  // Errors: not_found, unavailable, corrupt (what is stored does not fit its checksum; names the record).
  virtual Result<Record> find(const Uuid& id) = 0;

  // Returns every correction of a record, oldest first; none when there is no such record.
  // Errors: unavailable, corrupt.
  virtual Result<std::vector<Correction>> corrections(const Uuid& id) = 0;

  // Returns the picture of a record.
  // Errors: not_found (no such record, or its upload was not kept), unavailable, corrupt (it does not fit the
  // record's upload_digest).
  virtual Result<Upload> find_upload(const Uuid& id) = 0;

  // Returns whether an upload of this size is kept beside its record.
  virtual bool keeps_upload(std::uint64_t bytes) const = 0;

  // Returns the media type of each record's upload, in order; an empty one where none is kept.
  // Errors: unavailable.
  virtual Result<std::vector<std::string>> upload_media_types(std::span<const Uuid> ids) = 0;

  // Errors: invalid_input (limit out of range), unavailable, corrupt (names the first damaged record).
  virtual Result<Page> list(const Query& query) = 0;

  // Reads everything: SQLite's own structure, each row's checksum, each upload's digest, the chain. `known`
  // is the head of an earlier verification, which must lie in the chain. It sees one moment, and appends go
  // on meanwhile, but the write-ahead log grows until it is done. Errors: unavailable; not_found (`known` is
  // older than all that is kept). Damage is no error but a finding.
  virtual Result<Verification> verify(const std::optional<ChainPoint>& known) = 0;

  // Returns the greatest id, so that ids made after a restart stay in order; nothing when there is no record.
  virtual Result<std::optional<Uuid>> newest_id() = 0;
};

}  // namespace espy::store
