// espy history: looking back at what was answered. Reads beside a running server.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
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

std::string answer_text(const store::Record& record) {
  if (record.verdict == Verdict::not_recognized) return "not recognised";
  return printable(record.class_name);
}

std::string to_seconds(Timestamp time) { return to_string(time).substr(0, 19) + "Z"; }

std::string record_table(const std::vector<store::Record>& records) {
  Table table({{"time"}, {"id"}, {"model"}, {"answer"}, {"confidence", Align::right}, {"file"}});
  for (const store::Record& record : records) {
    table.add({to_seconds(record.time), to_string(record.id), printable(record.model), answer_text(record),
               percent(record.confidence, 1), printable(record.file_name)});
  }
  return table.text();
}

// The shape is the API's; only there is no server here whose address an upload could have.
std::string record_json(const store::Record& record) {
  http::JsonWriter json;
  http::append_record(json, record, {}, http::Shown::as_history);
  return std::move(json).text();
}

std::string page_json(const store::Page& page) {
  http::JsonWriter json;
  json.begin_object().key("records").begin_array();
  for (const store::Record& record : page.records) {
    http::append_record(json, record, {}, http::Shown::as_history);
  }
  json.end_array().key("next");
  if (page.next) {
    json.value(to_string(*page.next));
  } else {
    json.null();
  }
  json.end_object();
  return std::move(json).text();
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
    print(page_json(*page) + "\n");
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
  const auto line = [](std::string_view name, const std::string& value) {
    return format("{:<11} {}\n", name, printable(value));
  };
  return line("id", to_string(record.id)) + line("time", to_string(record.time)) +
         line("model", record.model) + line("version", record.model_version) +
         line("file name", record.file_name) + line("label", format("{}", record.label)) +
         line("class", record.class_name) + line("confidence", percent(record.confidence)) +
         line("verdict", std::string(to_string(record.verdict))) +
         line("upload",
              format("{} bytes, sha256 {}", grouped(record.upload_bytes), to_hex(record.upload_digest))) +
         line("latency", format("{} us", grouped(static_cast<std::uint64_t>(record.latency.count()))));
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
    print(record_json(*record) + "\n");
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

// Writes page after page, so that memory does not grow with the history.
Result<std::uint64_t> write_records(store::Store& store, store::Query query, ExportFile& file,
                                    const std::string& heading,
                                    const std::function<std::string(const store::Record&)>& line) {
  if (auto written = file.write(heading); !written) return std::move(written).error();
  std::uint64_t count = 0;
  query.limit = kLongestPage;
  while (true) {
    auto page = store.list(query);
    if (!page) return std::move(page).error();
    for (const store::Record& record : page->records) {
      if (auto written = file.write(line(record)); !written) return std::move(written).error();
    }
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
  const bool csv = settings.format == "csv";
  const auto count =
      csv ? write_records(**store, settings.filters.query, *file, csv_heading(), csv_line)
          : write_records(**store, settings.filters.query, *file, "",
                          [](const store::Record& record) { return record_json(record) + "\n"; });
  if (!count) return fail(count.error());
  if (auto finished = file->finish(); !finished) return fail(finished.error());
  if (settings.out != "-") say(format("wrote {}, {} records", settings.out, grouped(*count)));
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
  flags.toggle("--json", settings->json, "print one JSON object");
  return [settings] { return list(*settings); };
}

Action declare_history_show(Flags& flags) {
  auto settings = std::make_shared<ShowSettings>();
  flags.argument("ID", settings->id, "the record's id, as `espy history list` shows it");
  declare_store(flags, settings->store);
  flags.text("--upload", "FILE", settings->upload, "write the kept picture to this file");
  flags.toggle("--json", settings->json, "print one JSON object");
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

}  // namespace espy::cli
