#include "cli/history.h"

#include <utility>

#include "http/json.h"
#include "http/page.h"

namespace espy::cli {

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

Result<std::unique_ptr<store::Store>> open_history(const std::string& url) {
  return store::Store::open(url, {.access = store::Access::read_only});
}

Result<std::unique_ptr<store::Store>> open_history_to_change(const std::string& url) {
  // What is not there yet has nothing to change; opening it for writing would make it.
  if (auto readable = open_history(url); !readable) {
    // An older store cannot be read before it was opened for writing once.
    if (readable.error().code != ErrorCode::unavailable) return readable;
  }
  return store::Store::open(url, {.access = store::Access::through_writer});
}

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

std::string to_seconds(Timestamp time) { return to_string(time).substr(0, 19) + "Z"; }

}  // namespace espy::cli
