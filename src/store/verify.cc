#include "store/verify.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <span>
#include <utility>

#include "base/format.h"
#include "store/row.h"

namespace espy::store {
namespace {

constexpr std::size_t kShownDamages = 100;

// One table's entries in the order of their places.
class Entries {
 public:
  // `seq` is the column of the place.
  static Result<Entries> open(const Connection& connection, const std::string& sql, int seq) {
    Result<Statement> statement = Statement::prepare(connection, sql);
    if (!statement) return std::move(statement).error();
    Entries entries(*std::move(statement), seq);
    entries.next();
    return entries;
  }

  void next() { status_ = statement_.step(); }
  bool has_row() const { return status_ == SQLITE_ROW; }
  bool failed() const { return status_ != SQLITE_ROW && status_ != SQLITE_DONE; }
  std::int64_t seq() const { return statement_.integer(seq_); }
  const Statement& row() const { return statement_; }

 private:
  Entries(Statement statement, int seq) : statement_(std::move(statement)), seq_(seq) {}

  Statement statement_;
  int seq_;
  int status_ = SQLITE_DONE;
};

// Ends the transaction that makes all of it one moment.
class Snapshot {
 public:
  explicit Snapshot(Connection& connection) : connection_(connection) {}
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot() { static_cast<void>(connection_.execute("COMMIT", "read")); }

 private:
  Connection& connection_;
};

class Walk {
 public:
  Walk(Connection& connection, const std::optional<ChainPoint>& known)
      : connection_(connection), known_(known) {}

  Result<Verification> run() {
    if (auto checked = check_structure(); !checked) return std::move(checked).error();
    if (auto begun = read_start(); !begun) return std::move(begun).error();
    if (known_ && known_->seq < found_.start.seq) {
      return Error{ErrorCode::not_found,
                   format("everything up to place {} has expired since place {} was noted", found_.start.seq,
                          known_->seq)};
    }
    check_known(found_.start);
    if (auto walked = walk(); !walked) return std::move(walked).error();
    found_.head = at_;
    if (known_ && known_->seq > at_.seq) {
      damage(format("the history ends at place {}, before the noted place {}: its end was cut off", at_.seq,
                    known_->seq));
    }
    return std::move(found_);
  }

 private:
  void damage(std::string what) {
    ++found_.damages;
    if (found_.shown_damages.size() < kShownDamages) found_.shown_damages.push_back(std::move(what));
  }

  Result<void> check_structure() {
    Result<Statement> check =
        Statement::prepare(connection_, format("PRAGMA integrity_check({})", kShownDamages));
    if (!check) return std::move(check).error();
    int status = check->step();
    for (; status == SQLITE_ROW; status = check->step()) {
      if (check->text(0) != "ok") damage(format("structure: {}", check->text(0)));
    }
    if (status != SQLITE_DONE) damage(connection_.error("check").message);
    return {};
  }

  Result<void> read_start() {
    Result<Statement> select =
        Statement::prepare(connection_, "SELECT start_seq, start_link FROM chain_start");
    if (!select) return std::move(select).error();
    if (select->step() != SQLITE_ROW) {
      return Error{ErrorCode::corrupt,
                   format("store {} does not say where its chain begins", connection_.path())};
    }
    found_.start = {select->integer(0), link_in(*select, 1)};
    at_ = found_.start;
    return {};
  }

  Result<void> walk() {
    const std::string after = format("> {} ORDER BY", found_.start.seq);
    auto records = Entries::open(connection_,
                                 format("SELECT {}, {}, seq FROM record NOT INDEXED WHERE seq {} seq",
                                        kRecordColumns, kUploadColumns, after),
                                 kRecordColumnCount + kUploadColumnCount);
    if (!records) return std::move(records).error();
    auto corrections = Entries::open(
        connection_,
        format(
            "SELECT {}, EXISTS (SELECT 1 FROM record WHERE id = record_id), correction_seq FROM correction "
            "NOT INDEXED WHERE correction_seq {} correction_seq",
            kCorrectionColumns, after),
        kCorrectionColumnCount + 1);
    if (!corrections) return std::move(corrections).error();
    auto erasures =
        Entries::open(connection_,
                      format("SELECT {}, erasure_seq FROM erasure WHERE erasure_seq {} erasure_seq",
                             kErasureColumns, after),
                      kErasureColumnCount);
    if (!erasures) return std::move(erasures).error();
    auto removed = Entries::open(
        connection_,
        format("SELECT kind, digest, removed_link, removed_seq FROM removed WHERE removed_seq {} removed_seq",
               after),
        3);
    if (!removed) return std::move(removed).error();

    const std::array<Entries*, 4> tables = {&*records, &*corrections, &*erasures, &*removed};
    while (true) {
      for (const Entries* table : tables) {
        if (table->failed()) {
          damage(connection_.error("read").message);
          return {};
        }
      }
      Entries* first = nullptr;
      for (Entries* table : tables) {
        if (table->has_row() && (first == nullptr || table->seq() < first->seq())) first = table;
      }
      if (first == nullptr) return {};
      if (first == &*records) {
        visit_record(first->row(), first->seq());
      } else if (first == &*corrections) {
        visit_correction(first->row(), first->seq());
      } else if (first == &*erasures) {
        ++found_.erasures;
        follow(first->seq(), Kind::erasure, digest(read_erasure(first->row(), 0)),
               link_in(first->row(), kErasureColumnCount - 1), true);
      } else {
        ++found_.removed;
        follow(first->seq(), static_cast<Kind>(first->row().integer(0)), link_in(first->row(), 1),
               link_in(first->row(), 2), true);
      }
      first->next();
    }
  }

  void visit_record(const Statement& row, std::int64_t seq) {
    ++found_.records;
    const Result<Record> record = read_record(row);
    if (!record) {
      damage(format("place {}: {}", seq, record.error().message));
    } else if (!row.is_null(kRecordColumnCount)) {
      ++found_.uploads;
      const Result<Upload> upload = read_upload(row, *record);
      if (!upload) damage(format("place {}: {}", seq, upload.error().message));
    }
    follow(seq, Kind::record, digest(record ? *record : read_record_unchecked(row)),
           link_in(row, kRecordColumnCount - 2), static_cast<bool>(record));
  }

  void visit_correction(const Statement& row, std::int64_t seq) {
    ++found_.corrections;
    const Result<std::optional<Correction>> correction = read_correction(row, 0);
    if (!correction) damage(format("place {}: {}", seq, correction.error().message));
    if (row.integer(kCorrectionColumnCount) == 0) {
      damage(format("place {}: a correction of a record that is not there", seq));
    }
    follow(seq, Kind::correction, digest(read_correction_unchecked(row, 0)),
           link_in(row, kCorrectionColumnCount - 1), static_cast<bool>(correction));
  }

  // Goes on to the place `seq`. An entry that is known to be damaged was told of already.
  void follow(std::int64_t seq, Kind kind, const Sha256& digest, const Sha256& link, bool sound) {
    if (seq <= at_.seq) {
      damage(format("place {}: two entries have it", seq));
      return;
    }
    if (seq != at_.seq + 1) {
      damage(format("places {} to {}: nothing is there, not even what is left of something removed",
                    at_.seq + 1, seq - 1));
    } else if (sound && next_point(at_, kind, digest).link != link) {
      damage(format("place {}: its link does not follow from what stands before it", seq));
    }
    at_ = {seq, link};
    check_known(at_);
  }

  void check_known(const ChainPoint& point) {
    if (known_ && known_->seq == point.seq && known_->link != point.link) {
      damage(format("place {}: its link is not the noted one: something up to there was changed", point.seq));
    }
  }

  static Sha256 link_in(const Statement& row, int column) {
    Sha256 link{};
    const std::span<const std::uint8_t> bytes = row.blob(column);
    if (bytes.size() == link.size()) std::ranges::copy(bytes, link.begin());
    return link;
  }

  Connection& connection_;
  const std::optional<ChainPoint> known_;
  Verification found_;
  ChainPoint at_;
};

}  // namespace

Result<Verification> verify(Connection& connection, const std::optional<ChainPoint>& known) {
  if (auto begun = connection.execute("BEGIN", "read"); !begun) return std::move(begun).error();
  const Snapshot snapshot(connection);
  return Walk(connection, known).run();
}

}  // namespace espy::store
