// espy history import: what a complete export wrote becomes part of a history.
#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "cli/archive.h"
#include "cli/commands.h"
#include "cli/csv.h"
#include "cli/history.h"
#include "cli/output.h"
#include "cli/text.h"
#include "http/json_input.h"

namespace espy::cli {
namespace {

struct ImportSettings {
  std::string store = kDefaultStore;
  std::string path;
};

// The lines of a file, of which quotes may hold line breaks together when it is CSV.
class LineReader {
 public:
  static Result<LineReader> open(const std::string& path) {
    LineReader reader;
    reader.path_ = path;
    reader.stream_.reset(path == "-" ? stdin : std::fopen(path.c_str(), "rbe"));
    if (!reader.stream_) {
      return Error{errno == ENOENT ? ErrorCode::not_found : ErrorCode::unavailable,
                   format("cannot read {}: {}", path, std::strerror(errno))};
    }
    return reader;
  }

  LineReader(LineReader&& other) noexcept = default;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader() = default;

  // Reads a line without its break; false at the end. Errors: unavailable, too_large.
  Result<bool> next(std::string& line) {
    line.clear();
    do {
      char* text = line_.release();
      const ssize_t size = ::getline(&text, &capacity_, stream_.get());
      line_.reset(text);
      if (size < 0) {
        if (std::ferror(stream_.get()) != 0) {
          return Error{ErrorCode::unavailable, format("cannot read {}: {}", path_, std::strerror(errno))};
        }
        return !line.empty();
      }
      line.append(text, static_cast<std::size_t>(size));
      if (line.size() > kLongestLine) {
        return Error{ErrorCode::too_large, format("a line has more than {} bytes", kLongestLine)};
      }
    } while (!line.starts_with('{') && ends_inside_quotes(line));
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
    return true;
  }

 private:
  static constexpr std::size_t kLongestLine = std::size_t{1} << 30;

  struct Close {
    void operator()(std::FILE* stream) const {
      if (stream != stdin) std::fclose(stream);
    }
  };
  struct Free {
    void operator()(char* text) const { std::free(text); }
  };

  LineReader() = default;

  std::string path_;
  std::unique_ptr<std::FILE, Close> stream_;
  std::unique_ptr<char, Free> line_;
  std::size_t capacity_ = 0;
};

// Hands records to a store faster than it could answer them one by one, and waits when it is too many.
class Importer {
 public:
  explicit Importer(store::Store& store) : store_(store) {}
  Importer(const Importer&) = delete;
  Importer& operator=(const Importer&) = delete;
  ~Importer() { wait_for_all(); }

  void append(store::Entry entry) {
    const std::size_t bytes = entry.upload.bytes.size();
    {
      std::unique_lock lock(mutex_);
      answered_.wait(lock, [&] { return outstanding_ < kOutstanding && bytes_ < kOutstandingBytes; });
      ++outstanding_;
      bytes_ += bytes;
    }
    store_.append(std::move(entry.record), std::move(entry.upload), [this, bytes](Result<void> stored) {
      const std::lock_guard lock(mutex_);
      if (!stored && !error_) error_ = std::move(stored).error();
      bytes_ -= bytes;
      if (--outstanding_ % kWoken == 0) answered_.notify_one();
    });
  }

  // Waits until everything is on disk. Returns the first failure.
  std::optional<Error> finish() {
    wait_for_all();
    return error_;
  }

  bool failed() {
    const std::lock_guard lock(mutex_);
    return error_.has_value();
  }

 private:
  // Enough that the writer always has a full group, below what a store lets wait.
  static constexpr int kOutstanding = 8192;
  static constexpr std::size_t kOutstandingBytes = std::size_t{128} << 20;
  static constexpr int kWoken = 512;

  void wait_for_all() {
    std::unique_lock lock(mutex_);
    answered_.wait(lock, [&] { return outstanding_ == 0; });
  }

  store::Store& store_;
  std::mutex mutex_;
  std::condition_variable answered_;
  int outstanding_ = 0;
  std::size_t bytes_ = 0;  // of their uploads
  std::optional<Error> error_;
};

ExitStatus import_records(const ImportSettings& settings) {
  const auto imported = import_archive(settings.path, settings.store);
  if (!imported) return fail(imported.error());
  say(format("imported {} records and {} corrections", grouped(imported->records),
             grouped(imported->corrections)));
  return ExitStatus::done;
}

}  // namespace

Result<Imported> import_archive(const std::string& path, const std::string& url) {
  auto lines = LineReader::open(path);
  if (!lines) return lines.error();
  // What was kept elsewhere is kept here, however large.
  const auto store =
      store::Store::open(url, {.max_kept_upload_bytes = std::numeric_limits<std::size_t>::max(),
                               .max_pending_bytes = std::size_t{1} << 30});
  if (!store) return store.error();
  Importer importer(**store);
  std::vector<store::Correction> corrections;
  std::string line;
  std::uint64_t number = 0;
  std::uint64_t count = 0;
  // Behind all the records, which are appended without waiting for them.
  const auto correct_all = [&]() -> Result<void> {
    for (const store::Correction& correction : corrections) {
      if (auto corrected = (*store)->correct(correction); !corrected) return corrected;
    }
    return {};
  };
  const auto wrong = [&](const Error& error) {
    const bool kept = !importer.finish() && correct_all();
    return Error{error.code, format("{}, line {}: {}; {} records and {} corrections before it are {}imported",
                                    path, number, error.message, grouped(count), grouped(corrections.size()),
                                    kept ? "" : "not all ")};
  };
  while (!importer.failed()) {
    const auto more = lines->next(line);
    ++number;
    if (!more) return wrong(more.error());
    if (!*more) break;
    const bool json = line.starts_with('{');
    const auto values = json ? http::parse_texts(line, archive_fields()) : parse_csv_line(line);
    if (!values) return wrong(values.error());
    if (number == 1 && !json && std::ranges::equal(*values, archive_fields())) continue;
    if (values->size() != archive_fields().size()) {
      return wrong({ErrorCode::invalid_input, format("there are {} fields, a complete export has {}",
                                                     values->size(), archive_fields().size())});
    }
    auto read = from_archive(*values);
    if (!read) return wrong(read.error());
    if (read->correction) corrections.push_back(*std::move(read->correction));
    if (!read->entry) continue;
    importer.append(*std::move(read->entry));
    ++count;
  }
  if (const auto error = importer.finish()) return *error;
  if (auto corrected = correct_all(); !corrected) return std::move(corrected).error();
  return Imported{count, corrections.size()};
}

Action declare_history_import(Flags& flags) {
  auto settings = std::make_shared<ImportSettings>();
  flags.argument("FILE", settings->path,
                 "CSV or NDJSON of `espy history export --complete`; - is standard input");
  declare_store(flags, settings->store);
  flags.note(
      "Records that the store has already, by their ids, are passed over, so that an import that was broken\n"
      "off can be begun anew. No server may write to the store meanwhile.");
  return [settings] { return import_records(*settings); };
}

}  // namespace espy::cli
