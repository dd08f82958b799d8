// espy history correct and erase: the two ways in which a history changes by hand.
#include <memory>
#include <optional>
#include <string>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/history.h"
#include "cli/output.h"

namespace espy::cli {
namespace {

struct CorrectSettings {
  std::string store = kDefaultStore;
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
  const auto store = open_history_to_change(settings.store);
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
  std::string store = kDefaultStore;
  store::Choice choice;
  std::optional<std::string> reason;
};

ExitStatus erase(const EraseSettings& settings) {
  const auto store = open_history_to_change(settings.store);
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

}  // namespace

Action declare_history_correct(Flags& flags) {
  auto settings = std::make_shared<CorrectSettings>();
  flags.argument("ID", settings->id, "the record's id");
  declare_store(flags, settings->store);
  flags.optional_number<int>("--label", "N", settings->label, {0, 32'767},
                             "the right label; it must be given");
  flags.optional_text("--class", "NAME", settings->class_name, "its name; without: the number");
  flags.optional_text("--author", "NAME", settings->author, "who says so");
  flags.optional_text("--note", "TEXT", settings->note, "what there is to say about it");
  flags.note(
      "The record itself stays as it is; every read shows its newest correction. A running server does it\n"
      "itself, for its own user and root; over the network there is POST /api/history/ID/correction.");
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
      "must be given. Backups and exports keep what they have. A running server does it itself, for its own\n"
      "user and root; over the network nothing can be erased.");
  return [settings] { return erase(*settings); };
}

}  // namespace espy::cli
