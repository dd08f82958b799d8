// Takes records out of a history and keeps the chain whole. Part of the writer: everything here runs inside
// its transactions, on its connection.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/chain.h"
#include "store/row.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace espy::store {

class Remover {
 public:
  // Errors: unavailable, corrupt.
  static Result<Remover> prepare(const Connection& connection);

  // What a step took out.
  struct Step {
    std::int64_t records = 0;
    std::int64_t corrections = 0;
    std::int64_t withdrawals = 0;
  };

  // Removes up to `limit` of the selected records, and notes for each destination that they are to be erased
  // there. Returns SQLITE_OK or the failure.
  int remove_chosen(const Connection& connection, const Choice& choice, int limit, Step& step);

  // From now on the two functions that follow stop at the first record behind this place, and pass over those
  // that have a correction behind it.
  void keep_behind(std::int64_t place) { keep_behind_ = place; }

  // Removes up to `limit` of the records from before `until`, oldest ids first.
  int remove_older(Timestamp until, int limit, Step& step);

  // Removes the `limit` records with the smallest ids.
  int remove_oldest(int limit, Step& step);

  // Begins a transaction's removals and ends them; between the two go the removals. end() writes down where
  // the chain begins now.
  int begin();
  int end(const Step& expired, const Step& erased);

 private:
  // A row that goes: what its place needs.
  struct Row {
    std::int64_t seq;
    Uuid id;
    Sha256 digest;
    Sha256 link;
  };

  Remover() = default;
  // Reads the statement's rows, which have the record's columns and seq, and resets it.
  // Stops before a row behind `last`.
  int collect(Statement& select, std::int64_t last, std::vector<Row>& rows);
  int withdraw(const Connection& connection, const Record& record, Step& step);
  int remove(const std::vector<Row>& rows, Step& step);
  int remove_corrections_of(const Uuid& id, Step& step);
  // Leaves the place of what was removed behind.
  int leave(std::int64_t seq, Kind kind, const Sha256& digest, const Sha256& link);
  // Moves the start over the removed places behind it.
  int advance();

  std::int64_t keep_behind_ = std::numeric_limits<std::int64_t>::max();
  ChainPoint start_;
  Statement read_start_, write_start_;
  Statement older_, older_astray_, oldest_;
  Statement delete_record_, delete_retry_, select_corrections_, delete_corrections_;
  Statement insert_removed_, find_removed_, delete_removed_, find_erasure_;
  Statement insert_withdrawals_;
};

}  // namespace espy::store
