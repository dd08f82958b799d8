// Finds records. Every answer comes from one SQL statement or one transaction, so that it sees one state of
// the store and holds the write-ahead log back for no longer than it takes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/outbox.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace espy::store {

// Threads: one at a time.
class Reader {
 public:
  static Result<std::unique_ptr<Reader>> open(std::shared_ptr<Connection> connection);

  // As in Store.
  Result<Record> find(const Uuid& id);
  Result<std::vector<Correction>> corrections(const Uuid& id);
  Result<Upload> find_upload(const Uuid& id);
  Result<std::vector<std::string>> upload_media_types(std::span<const Uuid> ids);
  Result<Page> list(const Query& query);
  Result<Verification> backup(const std::filesystem::path& path);
  Result<HistoryStatus> status();
  Result<Verification> verify(const std::optional<ChainPoint>& known);
  Result<std::optional<Uuid>> newest_id();
  Result<std::vector<Carried>> carried(const std::string& destination, const Uuid& after, std::size_t limit);

  // As in Outbox.
  Result<std::int64_t> settled(const std::string& destination);
  Result<std::vector<Outgoing>> read_outgoing(std::int64_t place, std::size_t limit);
  Result<Pending> pending(std::int64_t place);
  Result<std::vector<Withdrawal>> withdrawals(const std::string& destination, std::size_t limit);

 private:
  struct Places {
    std::int64_t first;
    std::int64_t last;
  };

  explicit Reader(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  // These return one record more than a page has, if there is one: it tells that there is a next page.
  Result<std::vector<Record>> list_in_index(const Query& query, std::string_view index);
  Result<std::vector<Record>> list_by_file_name(const Query& query);
  // Returns between which places the query's records lie that are not astray; nothing: there are none.
  Result<std::optional<Places>> places_of(const Query& query);
  // Adds the rows of a statement that select_records() made, and resets it.
  Result<void> read_records(Statement& statement, std::vector<Record>& records);

  std::shared_ptr<Connection> connection_;  // outlives its statements
  Statement find_;
  Statement find_corrections_;
  Statement find_upload_;
  Statement find_media_type_;
  Statement newest_id_;
  Statement first_place_;
  Statement last_place_;
  Statement find_settled_;
  Statement list_places_;
  Statement record_at_;
  Statement correction_at_;
  Statement list_withdrawals_;
  Statement list_carried_;
  Statement list_carried_corrections_;
};

// Lends readers to any thread; a thread that finds all of them lent waits for one.
// Threads: all functions may be called from any thread at once.
class ReaderPool {
 public:
  using Open = std::function<Result<std::unique_ptr<Reader>>()>;

  // Opens readers as they are needed, at most `limit` (>= 1).
  ReaderPool(std::size_t limit, Open open) : limit_(limit), open_(std::move(open)) {}

  // Runs answer(Reader&) and returns its result, or the error of opening a reader.
  template <typename Answer>
  auto with_reader(Answer answer) -> decltype(answer(std::declval<Reader&>())) {
    Result<std::unique_ptr<Reader>> reader = take();
    if (!reader) return std::move(reader).error();
    auto result = answer(**reader);
    give_back(*std::move(reader));
    return result;
  }

 private:
  Result<std::unique_ptr<Reader>> take();
  void give_back(std::unique_ptr<Reader> reader);

  const std::size_t limit_;
  const Open open_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Reader>> idle_;
  std::size_t opened_ = 0;
};

}  // namespace espy::store
