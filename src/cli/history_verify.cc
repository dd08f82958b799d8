// espy history verify and backup: is a history whole, and a verified copy of it.
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

struct VerifySettings {
  std::string store = kDefaultStore;
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
  const auto store = open_history(settings.store);
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

struct BackupSettings {
  std::string store = kDefaultStore;
  std::string path;
};

ExitStatus backup(const BackupSettings& settings) {
  const auto store = open_history(settings.store);
  if (!store) return fail(store.error());
  const auto saved = (*store)->backup(settings.path);
  if (!saved) return fail(saved.error());
  print(verification_text(*saved));
  say(format("wrote {}, verified", settings.path));
  return ExitStatus::done;
}

}  // namespace

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
