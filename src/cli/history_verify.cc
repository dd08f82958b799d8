// espy history verify and backup: is a history whole, and a verified copy of it.
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/format.h"
#include "cassandra/comparison.h"
#include "cassandra/shared_store.h"
#include "cli/cassandra_flags.h"
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
  CassandraFlags cassandra;
  CassandraWriterFlags rows;
  bool resend = false;
  bool json = false;
};

// What a cluster was found to have; nothing when none was asked for.
using Compared = std::optional<cassandra::Compared>;

std::string verification_json(const store::Verification& found, const Compared& compared) {
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
  json.end_array().key("cassandra");
  if (compared) {
    json.begin_object()
        .field("entries", compared->entries)
        .field("missing", compared->missing)
        .field("others", compared->others)
        .end_object();
  } else {
    json.null();
  }
  json.end_object();
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

std::string comparison_text(const Compared& compared) {
  if (!compared) return {};
  const auto count = [](std::int64_t number) { return grouped(static_cast<std::uint64_t>(number)); };
  const std::pair<std::string, std::string> fields[] = {
      {"settled in cassandra", count(compared->entries)},
      {"of them missing there", count(compared->missing)},
      {"others in their partitions", count(compared->others)},
  };
  return field_list(fields);
}

Result<store::Verification> verify_own(const VerifySettings& settings,
                                       const std::optional<store::ChainPoint>& known) {
  const auto store = open_history(settings.store);
  if (!store) return store.error();
  return (*store)->verify(known);
}

Error missing_there(const std::string& destination, const cassandra::Compared& compared) {
  return {
      ErrorCode::corrupt,
      format("{} of {} settled entries are not in {}: a server with --cassandra sends them again after its "
             "next comparison, and --resend at once where none runs",
             compared.missing, compared.entries, destination)};
}

// Looks in the cluster for what is settled there.
Result<cassandra::Compared> compare_with(const cassandra::ClusterOptions& options,
                                         const VerifySettings& settings) {
  if (settings.resend) {
    Result<std::unique_ptr<store::Store>> own = store::Store::open(settings.store);
    if (!own) return std::move(own).error();
    cassandra::SharedStoreOptions shared_options;
    shared_options.cluster = options;
    shared_options.reconciler.period = std::chrono::milliseconds{0};
    const auto shared = cassandra::share(*std::move(own), shared_options);
    if (!shared) return shared.error();
    return (*shared)->compare_now();
  }
  const auto own = open_history(settings.store);
  if (!own) return own.error();
  const auto cluster = cassandra::Cluster::open(options);
  if (!cluster) return cluster.error();
  if (const Result<void> ready = (*cluster)->prepare(); !ready) return ready.error();
  return cassandra::compare(
      **own, cassandra::destination_of(options), **cluster, {}, [](auto) {},
      [](std::chrono::duration<double> time) {
        std::this_thread::sleep_for(time);
        return true;
      });
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
  Result<std::optional<cassandra::ClusterOptions>> cluster = to_cluster(settings.cassandra);
  if (!cluster) return fail(cluster.error());
  if (settings.resend && !*cluster) {
    return fail({ErrorCode::invalid_input, "--resend needs a cluster: --cassandra HOSTS/KEYSPACE"});
  }
  const auto found = verify_own(settings, known);
  if (!found) return fail(found.error());
  Compared compared;
  std::string destination;
  if (*cluster) {
    (*cluster)->create = false;
    if (Result<void> added = add_writer(settings.rows, **cluster); !added) return fail(added.error());
    destination = cassandra::destination_of(**cluster);
    Result<cassandra::Compared> there = compare_with(**cluster, settings);
    if (!there) return fail(there.error());
    compared = *there;
  }
  print(settings.json ? verification_json(*found, compared) + "\n"
                      : verification_text(*found) + comparison_text(compared));
  if (found->damages > 0) {
    return fail({ErrorCode::corrupt, format("the history is damaged: {} findings", found->damages)});
  }
  say(known ? "the history is sound, and holds the noted head" : "the history is sound");
  if (!compared) return ExitStatus::done;
  if (compared->missing > 0 && !settings.resend) return fail(missing_there(destination, *compared));
  say(compared->missing > 0 ? format("what was missing in {} is there again", destination)
                            : format("everything that is settled in {} is there", destination));
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
  declare_cassandra(flags, settings->cassandra);
  declare_cassandra_rows(flags, settings->rows);
  flags.toggle("--resend", settings->resend,
               "send to Cassandra again what is missing there; for when no server runs");
  flags.toggle("--json", settings->json, "print one JSON object");
  flags.note(
      "Checks the database's structure, each record's checksum, each upload's digest and the hash chain.\n"
      "Exit status 0: sound; 1: damaged, or cannot be read. Whoever can write the file can make the whole\n"
      "chain anew, so note the head elsewhere from time to time and give it with --head.\n"
      "With --cassandra it also looks in the cluster for everything that is settled there.");
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
