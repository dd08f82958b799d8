// espy history: looking back at what was answered. Reads beside a running server.
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "cli/commands.h"
#include "cli/csv.h"
#include "cli/output.h"
#include "cli/text.h"
#include "http/json.h"
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

struct ListSettings {
  Filters filters;
  bool json = false;
};

ExitStatus list(const ListSettings& settings) {
  const auto store = open_store(settings.filters.store);
  if (!store) return fail(store.error());
  const auto page = (*store)->list(settings.filters.query);
  if (!page) return fail(page.error());
  if (settings.json) {
    const auto texts = to_json(**store, page->records);
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
      {"upload", format("{} bytes, sha256 {}", grouped(record.upload_bytes), to_hex(record.upload_digest))},
      {"latency", format("{} us", grouped(static_cast<std::uint64_t>(record.latency.count())))},
  };
  return field_list(fields);
}

struct ShowSettings {
  std::string store = "sqlite:espy.db";
  std::string id;
  std::string upload;
  bool json = false;
};

ExitStatus show(const ShowSettings& settings) {
  const std::optional<Uuid> id = parse_uuid(settings.id);
  if (!id) return fail({ErrorCode::invalid_input, format("{} is not an id", settings.id)});
  const auto store = open_store(settings.store);
  if (!store) return fail(store.error());
  const auto record = (*store)->find(*id);
  if (!record) return fail(record.error());
  if (settings.json) {
    const auto texts = to_json(**store, {&*record, 1});
    if (!texts) return fail(texts.error());
    print(texts->front() + "\n");
  } else {
    print(record_text(*record) + "\n" + draw(record->input));
  }
  if (settings.upload.empty()) return ExitStatus::done;

  const auto upload = (*store)->find_upload(*id);
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

// Writes page after page, so that memory does not grow with the history. Returns how many records there were.
Result<std::uint64_t> write_records(store::Store& store, const ExportSettings& settings, ExportFile& file) {
  const bool csv = settings.format == "csv";
  if (auto written = file.write(csv ? csv_heading() : ""); !written) return std::move(written).error();
  store::Query query = settings.filters.query;
  query.limit = kLongestPage;
  std::uint64_t count = 0;
  while (true) {
    const auto page = store.list(query);
    if (!page) return page.error();
    const auto lines = csv ? Result(to_csv(page->records)) : to_ndjson(store, page->records);
    if (!lines) return lines.error();
    if (auto written = file.write(*lines); !written) return std::move(written).error();
    count += page->records.size();
    if (!page->next) return count;
    query.before = page->next;
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

}  // namespace

Action declare_history_list(Flags& flags) {
  auto settings = std::make_shared<ListSettings>();
  declare_filters(flags, settings->filters);
  flags.optional_id("--before", settings->filters.query.before,
                    "only records older than the one with this id");
  flags.number<int>("--limit", "N", settings->filters.query.limit, {1, kLongestPage},
                    "at most so many records");
  flags.toggle("--json", settings->json, "print one JSON object, in the API's shape");
  return [settings] { return list(*settings); };
}

Action declare_history_show(Flags& flags) {
  auto settings = std::make_shared<ShowSettings>();
  flags.argument("ID", settings->id, "the record's id, as `espy history list` shows it");
  declare_store(flags, settings->store);
  flags.text("--upload", "FILE", settings->upload, "write the kept picture to this file");
  flags.toggle("--json", settings->json, "print one JSON object, in the API's shape");
  return [settings] { return show(*settings); };
}

Action declare_history_export(Flags& flags) {
  auto settings = std::make_shared<ExportSettings>();
  declare_filters(flags, settings->filters);
  flags.choice("--format", {"csv", "ndjson"}, settings->format, "CSV (RFC 4180), or one JSON object a line");
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

}  // namespace espy::cli
