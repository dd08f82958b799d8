// espy history: looking back at what was answered. Reads beside a running server.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "cassandra/merged_history.h"
#include "cli/archive.h"
#include "cli/cassandra_flags.h"
#include "cli/commands.h"
#include "cli/csv.h"
#include "cli/output.h"
#include "cli/text.h"
#include "http/json.h"
#include "http/json_input.h"
#include "http/page.h"
#include "image/prepare.h"
#include "store/store.h"

namespace espy::cli {
namespace {

// The most that a page of the store holds.
constexpr int kLongestPage = 1000;

struct Filters {
  std::string store = "sqlite:espy.db";
  store::Query query;
};

void declare_store(Flags& flags, std::string& store) {
  flags.text("--store", "URL", store, "the history to read: sqlite:PATH");
}

void declare_filters(Flags& flags, Filters& filters) {
  declare_store(flags, filters.store);
  store::Query& query = filters.query;
  flags.optional_time("--from", query.from, "only records at or after this time (UTC)");
  flags.optional_time("--until", query.until, "only records before this time (UTC)");
  flags.optional_text("--model", "NAME", query.model, "only records of this model");
  flags.optional_number<int>("--label", "N", query.label, {0, 1'000'000}, "only records with this label");
  flags.optional_number<float>("--min-confidence", "SHARE", query.min_confidence, {0, 1},
                               "only records with at least this confidence, 0 to 1");
  flags.optional_number<float>("--max-confidence", "SHARE", query.max_confidence, {0, 1},
                               "only records with at most this confidence, 0 to 1");
  flags.optional_text("--file-name", "NAME", query.file_name, "only records of files with exactly this name");
  flags.optional_text("--subject", "NAME", query.subject, "only records of exactly this subject");
}

Result<std::unique_ptr<store::Store>> open_store(const std::string& url) {
  return store::Store::open(url, {.access = store::Access::read_only});
}

std::string to_seconds(Timestamp time) { return to_string(time).substr(0, 19) + "Z"; }

std::string record_table(const std::vector<store::Record>& records) {
  Table table({{"time"}, {"id"}, {"model"}, {"answer"}, {"confidence", Align::right}, {"file"}});
  for (const store::Record& record : records) {
    table.add({to_seconds(record.time), to_string(record.id), printable(record.model),
               printable(http::answer_words(record)), http::confidence_words(record.confidence),
               printable(record.file_name)});
  }
  return table.text();
}

// Returns each record in the API's shape; the url of an upload is its place on a server of this store.
Result<std::vector<std::string>> to_json(store::Store& store, std::span<const store::Record> records) {
  std::vector<Uuid> ids;
  for (const store::Record& record : records) ids.push_back(record.id);
  const auto media_types = store.upload_media_types(ids);
  if (!media_types) return media_types.error();
  std::vector<std::string> texts;
  for (std::size_t index = 0; index < records.size(); ++index) {
    http::JsonWriter json;
    http::append_record(json, records[index], http::upload_url(ids[index], (*media_types)[index]),
                        http::Shown::as_history);
    texts.push_back(std::move(json).text());
  }
  return texts;
}

// A history that is only read: a store alone, or with all that share a keyspace.
class OpenedHistory {
 public:
  // With a cluster the store may be missing: then the cluster's is all there is.
  static Result<OpenedHistory> open(const std::string& url, const CassandraFlags& flags) {
    Result<std::optional<cassandra::ClusterOptions>> named = to_cluster(flags);
    if (!named) return std::move(named).error();
    OpenedHistory history;
    Result<std::unique_ptr<store::Store>> own = open_store(url);
    if (!own && *named && own.error().code == ErrorCode::not_found)
      own = store::Store::open("sqlite::memory:");
    if (!own) return std::move(own).error();
    history.own_ = *std::move(own);
    if (!*named) return history;
    (*named)->create = false;
    Result<std::unique_ptr<cassandra::Cluster>> cluster = cassandra::Cluster::open(**named);
    if (!cluster) return std::move(cluster).error();
    if (Result<void> ready = (*cluster)->prepare(); !ready) return std::move(ready).error();
    history.cluster_ = *std::move(cluster);
    history.merged_ = std::make_unique<cassandra::MergedHistory>(*history.own_, *history.cluster_, nullptr);
    return history;
  }

  store::Store& own() { return *own_; }

  Result<store::Page> list(const store::Query& query) {
    if (!merged_) return own_->list(query);
    Result<store::Listing> listing = merged_->list(query);
    if (!listing) return std::move(listing).error();
    // Whoever names a cluster wants all of it.
    if (!listing->missing.empty()) return Error{ErrorCode::unavailable, listing->missing};
    return std::move(listing->page);
  }

  Result<store::Record> find(const Uuid& id) { return merged_ ? merged_->find(id) : own_->find(id); }

 private:
  std::unique_ptr<store::Store> own_;
  std::unique_ptr<cassandra::Cluster> cluster_;
  std::unique_ptr<cassandra::MergedHistory> merged_;
};

struct ListSettings {
  Filters filters;
  CassandraFlags cassandra;
  bool json = false;
};

ExitStatus list(const ListSettings& settings) {
  auto history = OpenedHistory::open(settings.filters.store, settings.cassandra);
  if (!history) return fail(history.error());
  const auto page = history->list(settings.filters.query);
  if (!page) return fail(page.error());
  if (settings.json) {
    const auto texts = to_json(history->own(), page->records);
    if (!texts) return fail(texts.error());
    const std::string next = page->next ? format("\"{}\"", to_string(*page->next)) : "null";
    print(format("{{\"records\":[{}],\"next\":{}}}\n", join(*texts, ","), next));
    return ExitStatus::done;
  }
  if (page->records.empty()) {
    say("no records");
    return ExitStatus::done;
  }
  print(record_table(page->records));
  if (page->next) say(format("older records: --before {}", to_string(*page->next)));
  return ExitStatus::done;
}

// Returns the input as lines of characters, two for each pixel, so that it is about square on a terminal.
std::string draw(const image::Input& input) {
  // From paper to ink.
  constexpr std::string_view kShades = " .:-=+*#%@";
  std::string drawing;
  for (int y = 0; y < image::kInputSide; ++y) {
    std::string line;
    for (int x = 0; x < image::kInputSide; ++x) {
      const std::size_t ink = input[static_cast<std::size_t>(y * image::kInputSide + x)];
      line.append(2, kShades[ink * (kShades.size() - 1) / 255]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    drawing += line + "\n";
  }
  return drawing;
}

std::string correction_words(const store::Correction& correction) {
  return format("{}{}{}{}", correction.class_name,
                correction.author.empty() ? "" : format(", by {}", correction.author),
                correction.note.empty() ? "" : format(": {}", correction.note),
                format(" ({})", to_seconds(correction.time)));
}

std::string record_text(const store::Record& record) {
  const std::pair<std::string, std::string> fields[] = {
      {"id", to_string(record.id)},
      {"time", to_string(record.time)},
      {"model", record.model},
      {"version", record.model_version},
      {"file name", record.file_name},
      {"label", format("{}", record.label)},
      {"class", record.class_name},
      {"confidence", http::confidence_words(record.confidence)},
      {"verdict", std::string(to_string(record.verdict))},
      {"reason", record.reason == Reason::none ? "-" : std::string(to_string(record.reason))},
      {"alternative", record.alternative.empty() ? "-" : record.alternative},
      {"subject", record.subject.empty() ? "-" : record.subject},
      {"correction", record.correction ? correction_words(*record.correction) : "-"},
      {"upload", format("{} bytes, sha256 {}", grouped(record.upload_bytes), to_hex(record.upload_digest))},
      {"latency", format("{} us", grouped(static_cast<std::uint64_t>(record.latency.count())))},
  };
  return field_list(fields);
}

struct ShowSettings {
  std::string store = "sqlite:espy.db";
  std::string id;
  std::string upload;
  CassandraFlags cassandra;
  bool json = false;
};

ExitStatus show(const ShowSettings& settings) {
  const std::optional<Uuid> id = parse_uuid(settings.id);
  if (!id) return fail({ErrorCode::invalid_input, format("{} is not an id", settings.id)});
  auto history = OpenedHistory::open(settings.store, settings.cassandra);
  if (!history) return fail(history.error());
  const auto record = history->find(*id);
  if (!record) return fail(record.error());
  if (settings.json) {
    const auto texts = to_json(history->own(), {&*record, 1});
    if (!texts) return fail(texts.error());
    print(texts->front() + "\n");
  } else {
    print(record_text(*record) + "\n" + draw(record->input));
  }
  if (settings.upload.empty()) return ExitStatus::done;

  const auto upload = history->own().find_upload(*id);
  if (!upload) return fail(upload.error());
  if (auto written = write_file(settings.upload, as_bytes(upload->bytes)); !written) {
    return fail(written.error());
  }
  say(format("wrote {}, {}, {}", settings.upload, upload->media_type, to_size_text(upload->bytes.size())));
  return ExitStatus::done;
}

// A file that appears under its name when it is complete. "-" is standard output.
class ExportFile {
 public:
  static Result<ExportFile> open(const std::string& path) {
    ExportFile file;
    file.path_ = path;
    if (path == "-") return file;
    file.part_ = path + ".part";
    file.stream_.reset(std::fopen(file.part_.c_str(), "wbe"));
    if (!file.stream_) return file.failure();
    return file;
  }

  ExportFile(ExportFile&&) = default;
  ~ExportFile() {
    if (stream_) ::unlink(part_.c_str());
  }

  Result<void> write(std::string_view text) {
    if (!stream_) {
      print(text);
    } else if (std::fwrite(text.data(), 1, text.size(), stream_.get()) != text.size()) {
      return failure();
    }
    return {};
  }

  Result<void> finish() {
    if (!stream_) return {};
    if (std::fflush(stream_.get()) != 0 || ::fsync(::fileno(stream_.get())) != 0) return failure();
    if (::rename(part_.c_str(), path_.c_str()) != 0) return failure();
    stream_.reset();
    return {};
  }

 private:
  struct Close {
    void operator()(std::FILE* stream) const { std::fclose(stream); }
  };

  ExportFile() = default;
  Error failure() const {
    return {ErrorCode::unavailable, format("cannot write {}: {}", path_, std::strerror(errno))};
  }

  std::string path_;
  std::string part_;
  std::unique_ptr<std::FILE, Close> stream_;
};

struct ExportSettings {
  Filters filters;
  bool complete = false;
  std::string format = "csv";
  std::string out = "-";
};

std::string to_csv(std::span<const store::Record> records) {
  std::string lines;
  for (const store::Record& record : records) lines += csv_line(record);
  return lines;
}

Result<std::string> to_ndjson(store::Store& store, std::span<const store::Record> records) {
  const auto texts = to_json(store, records);
  if (!texts) return texts.error();
  std::string lines;
  for (const std::string& text : *texts) lines += text + "\n";
  return lines;
}

std::string archive_line(std::span<const std::string> values, bool csv) {
  std::string line;
  if (csv) {
    for (const std::string& value : values) {
      if (&value != values.data()) line += ',';
      line += csv_field(value);
    }
    return line + "\r\n";
  }
  http::JsonWriter json;
  json.begin_object();
  for (std::size_t i = 0; i < values.size(); ++i)
    json.field(archive_fields()[i], std::string_view(values[i]));
  json.end_object();
  return std::move(json).text() + "\n";
}

std::string archive_heading(bool csv) {
  const auto names = archive_fields();
  return csv ? archive_line(std::vector<std::string>(names.begin(), names.end()), csv) : "";
}

Result<std::string> to_archive_lines(store::Store& store, std::span<const store::Record> records, bool csv) {
  std::string lines;
  for (const store::Record& record : records) {
    const auto upload = store.find_upload(record.id);
    // A record may have been removed since its page was read, or its upload was never kept.
    if (!upload && upload.error().code != ErrorCode::not_found) return upload.error();
    lines += archive_line(to_archive(record, upload ? *upload : store::Upload{}), csv);
  }
  return lines;
}

// Writes page after page, so that memory does not grow with the history. Returns how many records there were.
Result<std::uint64_t> write_records(store::Store& store, const ExportSettings& settings, ExportFile& file) {
  const bool csv = settings.format == "csv";
  const std::string heading = settings.complete ? archive_heading(csv) : csv ? csv_heading() : "";
  if (auto written = file.write(heading); !written) return std::move(written).error();
  store::Query query = settings.filters.query;
  // In the order of their making, so that an import appends them so.
  query.oldest_first = settings.complete;
  query.limit = kLongestPage;
  std::uint64_t count = 0;
  while (true) {
    const auto page = store.list(query);
    if (!page) return page.error();
    const auto lines = settings.complete ? to_archive_lines(store, page->records, csv)
                       : csv             ? Result(to_csv(page->records))
                                         : to_ndjson(store, page->records);
    if (!lines) return lines.error();
    if (auto written = file.write(*lines); !written) return std::move(written).error();
    count += page->records.size();
    if (!page->next) return count;
    (query.oldest_first ? query.after : query.before) = page->next;
  }
}

ExitStatus export_records(const ExportSettings& settings) {
  const auto store = open_store(settings.filters.store);
  if (!store) return fail(store.error());
  auto file = ExportFile::open(settings.out);
  if (!file) return fail(file.error());
  const auto count = write_records(**store, settings, *file);
  if (!count) return fail(count.error());
  if (auto finished = file->finish(); !finished) return fail(finished.error());
  if (settings.out != "-") say(format("wrote {}, {} records", settings.out, grouped(*count)));
  return ExitStatus::done;
}

struct ImportSettings {
  std::string store = "sqlite:espy.db";
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
    entry.record.correction.reset();
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
  auto lines = LineReader::open(settings.path);
  if (!lines) return fail(lines.error());
  // What was kept elsewhere is kept here, however large.
  const auto store =
      store::Store::open(settings.store, {.max_kept_upload_bytes = std::numeric_limits<std::size_t>::max(),
                                          .max_pending_bytes = std::size_t{1} << 30});
  if (!store) return fail(store.error());
  Importer importer(**store);
  std::vector<store::Correction> corrections;
  std::string line;
  std::uint64_t number = 0;
  std::uint64_t count = 0;
  const auto wrong = [&](const Error& error) {
    static_cast<void>(importer.finish());
    return fail({error.code, format("{}, line {}: {}; {} records before it are imported", settings.path,
                                    number, error.message, grouped(count))});
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
    auto entry = from_archive(*values);
    if (!entry) return wrong(entry.error());
    if (entry->record.correction) corrections.push_back(*entry->record.correction);
    importer.append(*std::move(entry));
    ++count;
  }
  if (const auto error = importer.finish()) return fail(*error);
  for (const store::Correction& correction : corrections) {
    if (auto corrected = (*store)->correct(correction); !corrected) return fail(corrected.error());
  }
  say(format("imported {} records and {} corrections", grouped(count), grouped(corrections.size())));
  return ExitStatus::done;
}

struct VerifySettings {
  std::string store = "sqlite:espy.db";
  std::string head;
  bool json = false;
};

std::string verification_json(const store::Verification& found) {
  http::JsonWriter json;
  json.begin_object()
      .field("sound", found.damages == 0)
      .field("records", found.records)
      .field("uploads", found.uploads)
      .field("corrections", found.corrections)
      .field("erasures", found.erasures)
      .field("removed", found.removed)
      .field("start", to_string(found.start))
      .field("head", to_string(found.head))
      .field("damages", found.damages);
  json.key("shown_damages").begin_array();
  for (const std::string& damage : found.shown_damages) json.value(damage);
  json.end_array().end_object();
  return std::move(json).text();
}

std::string verification_text(const store::Verification& found) {
  const auto count = [](std::int64_t number) { return grouped(static_cast<std::uint64_t>(number)); };
  std::string text;
  for (const std::string& damage : found.shown_damages) text += printable(damage) + "\n";
  const std::pair<std::string, std::string> fields[] = {
      {"records", count(found.records)},         {"uploads", count(found.uploads)},
      {"corrections", count(found.corrections)}, {"erasures", count(found.erasures)},
      {"removed places", count(found.removed)},  {"expired up to place", count(found.start.seq)},
      {"head", to_string(found.head)},
  };
  return text + field_list(fields);
}

ExitStatus verify(const VerifySettings& settings) {
  std::optional<store::ChainPoint> known;
  if (!settings.head.empty()) {
    known = store::parse_chain_point(settings.head);
    if (!known) {
      return fail({ErrorCode::invalid_input,
                   format("{} is not a head, which is a place, a colon and 64 digits", settings.head)});
    }
  }
  const auto store = open_store(settings.store);
  if (!store) return fail(store.error());
  const auto found = (*store)->verify(known);
  if (!found) return fail(found.error());
  print(settings.json ? verification_json(*found) + "\n" : verification_text(*found));
  if (found->damages > 0) {
    return fail({ErrorCode::corrupt, format("the history is damaged: {} findings", found->damages)});
  }
  say(known ? "the history is sound, and holds the noted head" : "the history is sound");
  return ExitStatus::done;
}

Result<std::unique_ptr<store::Store>> open_store_for_writing(const std::string& url) {
  // What is not there yet has nothing to change; opening it for writing would make it.
  if (auto readable = open_store(url); !readable) {
    // An older store cannot be read before it was opened for writing once.
    if (readable.error().code != ErrorCode::unavailable) return readable;
  }
  return store::Store::open(url);
}

struct CorrectSettings {
  std::string store = "sqlite:espy.db";
  std::string id;
  std::optional<int> label;
  std::optional<std::string> class_name;
  std::optional<std::string> author;
  std::optional<std::string> note;
};

ExitStatus correct(const CorrectSettings& settings) {
  const std::optional<Uuid> id = parse_uuid(settings.id);
  if (!id) return fail({ErrorCode::invalid_input, format("{} is not an id", settings.id)});
  if (!settings.label) return fail({ErrorCode::invalid_input, "--label must say the right label"});
  const auto store = open_store_for_writing(settings.store);
  if (!store) return fail(store.error());
  const Timestamp now = system_clock()();
  const auto corrected =
      (*store)->correct({.id = UuidGenerator().next(now),
                         .record = *id,
                         .time = now,
                         .label = *settings.label,
                         .class_name = settings.class_name.value_or(format("{}", *settings.label)),
                         .author = settings.author.value_or(""),
                         .note = settings.note.value_or("")});
  if (!corrected) return fail(corrected.error());
  say(format("corrected record {}", to_string(*id)));
  return ExitStatus::done;
}

struct EraseSettings {
  std::string store = "sqlite:espy.db";
  store::Choice choice;
  std::optional<std::string> reason;
};

ExitStatus erase(const EraseSettings& settings) {
  const auto store = open_store_for_writing(settings.store);
  if (!store) return fail(store.error());
  const auto erased = (*store)->erase(settings.choice, settings.reason.value_or(""));
  if (!erased) return fail(erased.error());
  say(format("erased {} records and {} corrections", erased->records, erased->corrections));
  if (erased->withdrawals > 0) {
    say(format("{} are to be erased from Cassandra, by the server when it runs next", erased->withdrawals));
  }
  if (!erased->log_is_empty) {
    say("a reader holds the write-ahead log, in which they can still lie until it is done");
  }
  return ExitStatus::done;
}

struct BackupSettings {
  std::string store = "sqlite:espy.db";
  std::string path;
};

ExitStatus backup(const BackupSettings& settings) {
  const auto store = open_store(settings.store);
  if (!store) return fail(store.error());
  const auto saved = (*store)->backup(settings.path);
  if (!saved) return fail(saved.error());
  print(verification_text(*saved));
  say(format("wrote {}, verified", settings.path));
  return ExitStatus::done;
}

struct StatusSettings {
  std::string store = "sqlite:espy.db";
  bool json = false;
};

std::string status_json(const store::HistoryStatus& status) {
  http::JsonWriter json;
  json.begin_object()
      .field("records", status.records)
      .field("corrections", status.corrections)
      .field("erasures", status.erasures)
      .field("expired_records", status.expired_records)
      .field("erased_records", status.erased_records)
      .field("bytes", status.bytes)
      .field("free_bytes", status.free_bytes)
      .field("start", to_string(status.start))
      .field("head", to_string(status.head));
  for (const auto& [name, time] : {std::pair{"oldest", status.oldest}, {"newest", status.newest}}) {
    json.key(name);
    if (time) {
      json.value(to_string(*time));
    } else {
      json.null();
    }
  }
  json.key("newest_erasures").begin_array();
  for (const store::Erasure& erasure : status.newest_erasures) {
    json.begin_object()
        .field("time", to_string(erasure.time))
        .field("chosen_by", erasure.chosen_by)
        .field("records", erasure.records)
        .field("corrections", erasure.corrections)
        .field("reason", erasure.reason)
        .end_object();
  }
  json.end_array().key("destinations").begin_array();
  for (const store::DestinationStatus& destination : status.destinations) {
    json.begin_object()
        .field("name", destination.name)
        .field("settled", destination.settled)
        .field("unsettled", destination.pending.entries)
        .field("dead_letters", destination.dead_letters)
        .field("withdrawals", destination.withdrawals);
    json.key("oldest_unsettled");
    if (destination.pending.oldest) {
      json.value(to_string(*destination.pending.oldest));
    } else {
      json.null();
    }
    json.end_object();
  }
  json.end_array().end_object();
  return std::move(json).text();
}

ExitStatus show_status(const StatusSettings& settings) {
  const auto store = open_store(settings.store);
  if (!store) return fail(store.error());
  const auto status = (*store)->status();
  if (!status) return fail(status.error());
  if (settings.json) {
    print(status_json(*status) + "\n");
    return ExitStatus::done;
  }
  const auto count = [](std::int64_t number) { return grouped(static_cast<std::uint64_t>(number)); };
  const auto time = [](const std::optional<Timestamp>& when) { return when ? to_seconds(*when) : "-"; };
  const std::pair<std::string, std::string> fields[] = {
      {"records", count(status->records)},
      {"oldest", time(status->oldest)},
      {"newest", time(status->newest)},
      {"corrections", count(status->corrections)},
      {"expired", count(status->expired_records)},
      {"erased", count(status->erased_records)},
      {"size", to_size_text(status->bytes)},
      {"free", to_size_text(status->free_bytes)},
      {"head", to_string(status->head)},
  };
  std::string text = field_list(fields);
  for (const store::Erasure& erasure : status->newest_erasures) {
    text += format("erasure of {} by {}: {} records, {} corrections{}\n", to_seconds(erasure.time),
                   printable(erasure.chosen_by), erasure.records, erasure.corrections,
                   erasure.reason.empty() ? "" : format(" ({})", printable(erasure.reason)));
  }
  for (const store::DestinationStatus& destination : status->destinations) {
    text += format("{}: {} entries not settled{}, {} dead letters, {} records to erase\n",
                   printable(destination.name), count(destination.pending.entries),
                   destination.pending.oldest
                       ? format(" (the oldest of {})", to_seconds(*destination.pending.oldest))
                       : "",
                   count(destination.dead_letters), count(destination.withdrawals));
  }
  print(text);
  return ExitStatus::done;
}

}  // namespace

Action declare_history_list(Flags& flags) {
  auto settings = std::make_shared<ListSettings>();
  declare_filters(flags, settings->filters);
  flags.optional_id("--before", settings->filters.query.before,
                    "only records older than the one with this id");
  flags.number<int>("--limit", "N", settings->filters.query.limit, {1, kLongestPage},
                    "at most so many records");
  declare_cassandra(flags, settings->cassandra);
  flags.toggle("--json", settings->json, "print one JSON object, in the API's shape");
  return [settings] { return list(*settings); };
}

Action declare_history_show(Flags& flags) {
  auto settings = std::make_shared<ShowSettings>();
  flags.argument("ID", settings->id, "the record's id, as `espy history list` shows it");
  declare_store(flags, settings->store);
  flags.text("--upload", "FILE", settings->upload, "write the kept picture to this file");
  declare_cassandra(flags, settings->cassandra);
  flags.toggle("--json", settings->json, "print one JSON object, in the API's shape");
  return [settings] { return show(*settings); };
}

Action declare_history_export(Flags& flags) {
  auto settings = std::make_shared<ExportSettings>();
  declare_filters(flags, settings->filters);
  flags.choice("--format", {"csv", "ndjson"}, settings->format, "CSV (RFC 4180), or one JSON object a line");
  flags.toggle("--complete", settings->complete,
               "with pictures, inputs and corrections, oldest first: what `espy history import` takes");
  flags.text("--out", "FILE", settings->out, "where to; - is standard output");
  flags.note(
      "File names are written as clients said them. A spreadsheet may take one that begins with =, +,\n"
      "- or @ for a formula: import the column as text.");
  return [settings] { return export_records(*settings); };
}

Action declare_history_verify(Flags& flags) {
  auto settings = std::make_shared<VerifySettings>();
  declare_store(flags, settings->store);
  flags.text("--head", "PLACE:LINK", settings->head,
             "the head that an earlier run printed: is all up to there as it was?");
  flags.toggle("--json", settings->json, "print one JSON object");
  flags.note(
      "Checks the database's structure, each record's checksum, each upload's digest and the hash chain.\n"
      "Exit status 0: sound; 1: damaged, or cannot be read. Whoever can write the file can make the whole\n"
      "chain anew, so note the head elsewhere from time to time and give it with --head.");
  return [settings] { return verify(*settings); };
}

Action declare_history_status(Flags& flags) {
  auto settings = std::make_shared<StatusSettings>();
  declare_store(flags, settings->store);
  flags.toggle("--json", settings->json, "print one JSON object");
  flags.note("What a running server has accepted, committed and refused is in its /metrics.");
  return [settings] { return show_status(*settings); };
}

Action declare_history_correct(Flags& flags) {
  auto settings = std::make_shared<CorrectSettings>();
  flags.argument("ID", settings->id, "the record's id");
  declare_store(flags, settings->store);
  flags.optional_number<int>("--label", "N", settings->label, {0, 1'000'000},
                             "the right label; it must be given");
  flags.optional_text("--class", "NAME", settings->class_name, "its name; without: the number");
  flags.optional_text("--author", "NAME", settings->author, "who says so");
  flags.optional_text("--note", "TEXT", settings->note, "what there is to say about it");
  flags.note(
      "The record itself stays as it is; every read shows its newest correction. While a server writes to\n"
      "the store, send POST /api/history/ID/correction instead.");
  return [settings] { return correct(*settings); };
}

Action declare_history_erase(Flags& flags) {
  auto settings = std::make_shared<EraseSettings>();
  declare_store(flags, settings->store);
  flags.optional_id("--id", settings->choice.id, "the record with this id");
  flags.optional_text("--file-name", "NAME", settings->choice.file_name,
                      "the records of files with exactly this name");
  flags.optional_text("--subject", "NAME", settings->choice.subject, "the records of exactly this subject");
  flags.optional_text("--reason", "TEXT", settings->reason,
                      "kept for good with the fact that something was erased, so name nobody");
  flags.note(
      "Removes the records, their pictures and corrections, and overwrites their bytes in the database;\n"
      "that and when, but not what, stays on record, and the hash chain stays whole. Exactly one choice\n"
      "must be given. Backups and exports keep what they have. No server may write to the store meanwhile.");
  return [settings] { return erase(*settings); };
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

Action declare_history_backup(Flags& flags) {
  auto settings = std::make_shared<BackupSettings>();
  flags.argument("FILE", settings->path, "where to; it must not exist yet");
  declare_store(flags, settings->store);
  flags.note(
      "Copies the whole history as it is at one moment, also beside a running server, and verifies the\n"
      "copy, which is a store like any other: to restore it, put it where the store was.");
  return [settings] { return backup(*settings); };
}

}  // namespace espy::cli
