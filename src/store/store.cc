#include "store/store.h"

#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <system_error>
#include <utility>

#include "base/format.h"
#include "base/log.h"
#include "store/lock_file.h"
#include "store/reader.h"
#include "store/schema.h"
#include "store/writer.h"
#include "store/writer_socket.h"

namespace espy::store {
namespace {

constexpr std::string_view kScheme = "sqlite:";
constexpr std::string_view kInMemory = ":memory:";

// A history page takes a millisecond or less, so few readers serve many threads.
constexpr std::size_t kMaxReaders = 4;

// Reads like any reader and writes through the one writer.
class SqliteOutbox : public Outbox {
 public:
  SqliteOutbox(Writer& writer, ReaderPool& readers, std::string destination)
      : writer_(writer), readers_(readers), destination_(std::move(destination)) {}

  Result<std::int64_t> settled() override {
    return readers_.with_reader([&](Reader& reader) { return reader.settled(destination_); });
  }
  Result<void> keep_settled(std::int64_t place) override { return writer_.keep_settled(destination_, place); }
  Result<std::vector<Outgoing>> read(std::int64_t place, std::size_t limit) override {
    return readers_.with_reader([&](Reader& reader) { return reader.read_outgoing(place, limit); });
  }
  Result<Pending> pending(std::int64_t place) override {
    return readers_.with_reader([&](Reader& reader) { return reader.pending(place); });
  }
  Result<void> keep_dead_letter(std::int64_t place, const std::string& why) override {
    return writer_.keep_dead_letter(destination_, place, why);
  }
  Result<std::vector<Withdrawal>> withdrawals(std::size_t limit) override {
    return readers_.with_reader([&](Reader& reader) { return reader.withdrawals(destination_, limit); });
  }
  Result<void> keep_withdrawn(std::span<const Uuid> ids) override {
    return writer_.keep_withdrawn(destination_, ids);
  }
  Result<void> keep_comparison(const Comparison& comparison) override {
    return writer_.keep_comparison(destination_, comparison);
  }

 private:
  Writer& writer_;
  ReaderPool& readers_;
  const std::string destination_;
};

class SqliteStore : public Store {
 public:
  // How a store is changed: by itself, through another process's writer, or not at all.
  struct Writing {
    // Closed from the last to the first.
    std::optional<LockFile> lock = {};  // not in memory
    std::unique_ptr<Writer> writer = {};
    std::unique_ptr<WriterSocket> socket = {};  // not in memory, nor where there can be none
    std::optional<WriterClient> client = {};
  };

  SqliteStore(std::string path, const StoreOptions& options, Writing writing,
              std::unique_ptr<ReaderPool> readers)
      : path_(std::move(path)),
        options_(options),
        writing_(std::move(writing)),
        readers_(std::move(readers)) {}

  ~SqliteStore() override {
    if (writing_.writer) writing_.writer->finish();
  }

  using Store::append;
  void append(std::shared_ptr<const Entry> entry, Completion done) override {
    if (!writing_.writer) return done(read_only());
    writing_.writer->append(std::move(entry), std::move(done));
  }

  void append_together(std::vector<std::shared_ptr<const Entry>> entries, Completion done) override {
    if (!writing_.writer) return done(read_only());
    writing_.writer->append_together(std::move(entries), std::move(done));
  }

  Result<Record> find(const Uuid& id) override {
    return readers_->with_reader([&](Reader& reader) { return reader.find(id); });
  }

  Result<std::vector<Correction>> corrections(const Uuid& id) override {
    return readers_->with_reader([&](Reader& reader) { return reader.corrections(id); });
  }

  Result<Upload> find_upload(const Uuid& id) override {
    return readers_->with_reader([&](Reader& reader) { return reader.find_upload(id); });
  }

  bool keeps_upload(std::uint64_t bytes) const override { return options_.keeps_upload(bytes); }

  Result<std::vector<std::string>> upload_media_types(std::span<const Uuid> ids) override {
    return readers_->with_reader([&](Reader& reader) { return reader.upload_media_types(ids); });
  }

  Result<Page> list(const Query& query) override {
    return readers_->with_reader([&](Reader& reader) { return reader.list(query); });
  }

  using Store::correct;
  void correct(Correction correction, Completion done) override {
    if (writing_.writer) return writing_.writer->correct(std::move(correction), std::move(done));
    done(writing_.client ? writing_.client->correct(correction) : read_only());
  }

  Result<Erased> erase(const Choice& choice, const std::string& reason) override {
    if (writing_.writer) return writing_.writer->erase(choice, reason);
    if (writing_.client) return writing_.client->erase(choice, reason);
    return read_only();
  }

  Result<Verification> backup(const std::filesystem::path& path) override {
    return readers_->with_reader([&](Reader& reader) { return reader.backup(path); });
  }

  Result<std::unique_ptr<Outbox>> open_outbox(const std::string& destination,
                                              std::int64_t max_pending) override {
    if (!writing_.writer) return read_only();
    Result<void> opened = writing_.writer->open_outbox(destination, max_pending);
    if (!opened) return std::move(opened).error();
    return std::unique_ptr<Outbox>(std::make_unique<SqliteOutbox>(*writing_.writer, *readers_, destination));
  }

  Result<std::vector<Carried>> carried(const std::string& destination, const Uuid& after,
                                       std::size_t limit) override {
    return readers_->with_reader([&](Reader& reader) { return reader.carried(destination, after, limit); });
  }

  Result<HistoryStatus> status() override {
    auto status = readers_->with_reader([](Reader& reader) { return reader.status(); });
    if (status && writing_.writer) status->writer = writing_.writer->status();
    return status;
  }

  Result<Verification> verify(const std::optional<ChainPoint>& known) override {
    return readers_->with_reader([&](Reader& reader) { return reader.verify(known); });
  }

  Result<std::optional<Uuid>> newest_id() override {
    return readers_->with_reader([](Reader& reader) { return reader.newest_id(); });
  }

 private:
  Error read_only() const {
    return {ErrorCode::unavailable, format("store {} is open for reading only", path_)};
  }

  const std::string path_;
  const StoreOptions options_;
  Writing writing_;
  std::unique_ptr<ReaderPool> readers_;  // closed before the writer's connection
};

Result<std::unique_ptr<Store>> open_memory_store(const StoreOptions& options) {
  if (options.access == Access::read_only) {
    return Error{ErrorCode::invalid_input,
                 "a store in memory begins empty, so it cannot be opened for reading only"};
  }
  Result<std::unique_ptr<Connection>> opened = open_in_memory();
  if (!opened) return std::move(opened).error();
  // Nobody else can see this database, so writer and reader share its one connection.
  const std::shared_ptr<Connection> connection = *std::move(opened);
  auto readers = std::make_unique<ReaderPool>(1, [connection] { return Reader::open(connection); });
  Result<std::unique_ptr<Writer>> writer = Writer::start(connection, options);
  if (!writer) return std::move(writer).error();
  return std::unique_ptr<Store>(
      std::make_unique<SqliteStore>(std::string(kInMemory), options,
                                    SqliteStore::Writing{.writer = *std::move(writer)}, std::move(readers)));
}

Result<SqliteStore::Writing> begin_writing(const std::string& path, const StoreOptions& options) {
  SqliteStore::Writing writing;
  if (options.access == Access::read_only) return writing;
  Result<LockFile> lock = LockFile::take(path);
  if (!lock) {
    if (options.access == Access::read_write) return std::move(lock).error();
    Result<WriterClient> client = WriterClient::connect(path);
    if (!client) {
      return Error{lock.error().code,
                   format("{}, and takes no requests ({})", lock.error().message, client.error().message)};
    }
    writing.client = *std::move(client);
    return writing;
  }
  writing.lock.emplace(*std::move(lock));
  Result<std::unique_ptr<Connection>> opened = open_for_writing(path);
  if (!opened) return std::move(opened).error();
  Result<std::unique_ptr<Writer>> writer = Writer::start(*std::move(opened), options);
  if (!writer) return std::move(writer).error();
  writing.writer = *std::move(writer);
  Result<std::unique_ptr<WriterSocket>> socket = WriterSocket::listen(path, *writing.writer);
  // Only what is erased or corrected from beside a running writer needs it.
  if (!socket) log::warning(socket.error().message);
  if (socket) writing.socket = *std::move(socket);
  return writing;
}

Result<std::unique_ptr<Store>> open_file_store(const std::string& path, const StoreOptions& options) {
  Result<SqliteStore::Writing> writing = begin_writing(path, options);
  if (!writing) return std::move(writing).error();
  auto readers = std::make_unique<ReaderPool>(kMaxReaders, [path]() -> Result<std::unique_ptr<Reader>> {
    Result<std::unique_ptr<Connection>> opened = open_for_reading(path);
    if (!opened) return std::move(opened).error();
    return Reader::open(*std::move(opened));
  });
  auto store = std::make_unique<SqliteStore>(path, options, *std::move(writing), std::move(readers));
  // The first reader is opened here, so that what is wrong with the file is said now.
  const Result<std::optional<Uuid>> newest = store->newest_id();
  if (!newest) return newest.error();
  log::debug(format("store {} is open (SQLite {})", path, sqlite3_libversion()));
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(std::string_view url, const StoreOptions& options) {
  if (!url.starts_with(kScheme) || url.size() == kScheme.size()) {
    return Error{ErrorCode::invalid_input,
                 format("store url is '{}', must be sqlite:PATH or sqlite::memory:", url)};
  }
  const std::string_view name = url.substr(kScheme.size());
  if (name == kInMemory) return open_memory_store(options);

  // One store has one name, whichever links lead to it: the lock stands beside that.
  std::error_code error;
  const std::filesystem::path path =
      std::filesystem::weakly_canonical(std::filesystem::absolute(name, error), error);
  if (error) return Error{ErrorCode::unavailable, format("cannot open store {}: {}", name, error.message())};
  return open_file_store(path.string(), options);
}

void Store::append(Record record, Upload upload, Completion done) {
  append(std::make_shared<const Entry>(Entry{std::move(record), std::move(upload), {}}), std::move(done));
}

Result<void> Store::correct(Correction correction) {
  const auto outcome = std::make_shared<std::promise<Result<void>>>();
  std::future<Result<void>> answer = outcome->get_future();
  correct(std::move(correction), [outcome](Result<void> result) { outcome->set_value(std::move(result)); });
  return answer.get();
}

void Histogram::add(std::chrono::duration<double> duration) {
  const double seconds = duration.count();
  const auto* const bucket = std::ranges::lower_bound(kBounds, seconds);
  ++counts[static_cast<std::size_t>(bucket - kBounds.begin())];
  ++count;
  sum += seconds;
  greatest = std::max(greatest, seconds);
}

Result<void> Store::append(Record record, Upload upload) {
  // Shared: the writer's thread may still be inside set_value when this one has its answer.
  const auto outcome = std::make_shared<std::promise<Result<void>>>();
  std::future<Result<void>> answer = outcome->get_future();
  append(std::move(record), std::move(upload),
         [outcome](Result<void> result) { outcome->set_value(std::move(result)); });
  return answer.get();
}

}  // namespace espy::store
