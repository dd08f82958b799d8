// espy history list and show: records as people, or programs, read them.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "base/hex.h"
#include "cassandra/merged_history.h"
#include "cli/cassandra_flags.h"
#include "cli/commands.h"
#include "cli/history.h"
#include "cli/output.h"
#include "cli/text.h"
#include "http/json.h"
#include "http/page.h"
#include "image/prepare.h"

namespace espy::cli {
namespace {

std::string record_table(const std::vector<store::Record>& records) {
  Table table({{"time"}, {"id"}, {"model"}, {"answer"}, {"confidence", Align::right}, {"file"}});
  for (const store::Record& record : records) {
    table.add({to_seconds(record.time), to_string(record.id), printable(record.model),
               printable(http::answer_words(record)), http::confidence_words(record.confidence),
               printable(record.file_name)});
  }
  return table.text();
}

// A history that is only read: a store alone, or with all that share a keyspace.
class OpenedHistory {
 public:
  // With a cluster the store may be missing: then the cluster's is all there is.
  static Result<OpenedHistory> open(const std::string& url, const CassandraFlags& flags) {
    Result<std::optional<cassandra::ClusterOptions>> named = to_cluster(flags);
    if (!named) return std::move(named).error();
    OpenedHistory history;
    Result<std::unique_ptr<store::Store>> own = open_history(url);
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
  std::string store = kDefaultStore;
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

}  // namespace espy::cli
