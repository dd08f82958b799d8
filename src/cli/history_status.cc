// espy history status: how much a history holds and what became of the rest.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/history.h"
#include "cli/output.h"
#include "cli/text.h"
#include "http/json.h"

namespace espy::cli {
namespace {

struct StatusSettings {
  std::string store = kDefaultStore;
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
    json.field_or_null(name, time ? to_string(*time) : "");
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
        .field("withdrawals", destination.withdrawals)
        .field_or_null("oldest_unsettled",
                       destination.pending.oldest ? to_string(*destination.pending.oldest) : "");
    json.key("comparison");
    if (destination.comparison) {
      json.begin_object()
          .field("time", to_string(destination.comparison->time))
          .field("entries", destination.comparison->entries)
          .field("missing", destination.comparison->missing)
          .end_object();
    } else {
      json.null();
    }
    json.end_object();
  }
  json.end_array().end_object();
  return std::move(json).text();
}

ExitStatus show_status(const StatusSettings& settings) {
  const auto store = open_history(settings.store);
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
    if (!destination.comparison) continue;
    text += format("{}: compared {}: {} of {} entries were missing there\n", printable(destination.name),
                   to_seconds(destination.comparison->time), count(destination.comparison->missing),
                   count(destination.comparison->entries));
  }
  print(text);
  return ExitStatus::done;
}

}  // namespace

Action declare_history_status(Flags& flags) {
  auto settings = std::make_shared<StatusSettings>();
  declare_store(flags, settings->store);
  flags.toggle("--json", settings->json, "print one JSON object");
  flags.note("What a running server has accepted, committed and refused is in its /metrics.");
  return [settings] { return show_status(*settings); };
}

}  // namespace espy::cli
