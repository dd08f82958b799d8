// espy history export: records as CSV or NDJSON, page after page.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "cli/archive.h"
#include "cli/commands.h"
#include "cli/csv.h"
#include "cli/history.h"
#include "cli/output.h"
#include "cli/text.h"

namespace espy::cli {
namespace {

// Where records go: a new file, or standard output, which is "-".
class ExportFile {
 public:
  static Result<ExportFile> open(const std::string& path) {
    if (path == "-") return ExportFile(std::nullopt);
    auto file = NewFile::create(path);
    if (!file) return std::move(file).error();
    return ExportFile(*std::move(file));
  }

  Result<void> write(const std::string& text) {
    if (file_) return file_->append(as_bytes(text));
    print(text);
    return {};
  }

  Result<void> finish() { return file_ ? file_->finish() : Result<void>(); }

 private:
  explicit ExportFile(std::optional<NewFile> file) : file_(std::move(file)) {}

  std::optional<NewFile> file_;
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

std::string archive_heading(ArchiveFormat archive_format) {
  if (archive_format != ArchiveFormat::csv) return {};
  const auto names = archive_fields();
  return archive_text(std::vector<std::string>(names.begin(), names.end()), archive_format);
}

Result<std::string> to_archive_lines(store::Store& store, std::span<const store::Record> records,
                                     ArchiveFormat archive_format) {
  std::string lines;
  for (const store::Record& record : records) {
    const auto upload = store.find_upload(record.id);
    // A record may have been removed since its page was read, or its upload was never kept.
    if (!upload && upload.error().code != ErrorCode::not_found) return upload.error();
    std::vector<store::Correction> corrections;
    if (record.correction) {
      auto all = store.corrections(record.id);
      if (!all) return std::move(all).error();
      corrections = *std::move(all);
    }
    for (const auto& line : to_archive(record, upload ? *upload : store::Upload{}, corrections)) {
      lines += archive_text(line, archive_format);
    }
  }
  return lines;
}

// Writes page after page, so that memory does not grow with the history. Returns how many records there were.
Result<std::uint64_t> write_records(store::Store& store, const ExportSettings& settings, ExportFile& file) {
  const bool csv = settings.format == "csv";
  const ArchiveFormat archive_format = csv ? ArchiveFormat::csv : ArchiveFormat::ndjson;
  const std::string heading = settings.complete ? archive_heading(archive_format) : csv ? csv_heading() : "";
  if (auto written = file.write(heading); !written) return std::move(written).error();
  store::Query query = settings.filters.query;
  // In the order of their making, so that an import appends them so.
  query.oldest_first = settings.complete;
  query.limit = kLongestPage;
  std::uint64_t count = 0;
  while (true) {
    const auto page = store.list(query);
    if (!page) return page.error();
    const auto lines = settings.complete ? to_archive_lines(store, page->records, archive_format)
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
  const auto store = open_history(settings.filters.store);
  if (!store) return fail(store.error());
  auto file = ExportFile::open(settings.out);
  if (!file) return fail(file.error());
  const auto count = write_records(**store, settings, *file);
  if (!count) return fail(count.error());
  if (auto finished = file->finish(); !finished) return fail(finished.error());
  if (settings.out != "-") say(format("wrote {}, {} records", settings.out, grouped(*count)));
  return ExitStatus::done;
}

}  // namespace

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

}  // namespace espy::cli
