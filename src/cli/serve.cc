// espy serve: the program as a server, from its start to its graceful stop.
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/log.h"
#include "base/time_slice.h"
#include "cassandra/shared_store.h"
#include "cli/cassandra_flags.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/shipped_models.h"
#include "cli/text.h"
#include "http/server.h"
#include "service/classifier.h"
#include "service/registry.h"
#include "store/store.h"

namespace espy::cli {
namespace {

// What a multipart form puts around an upload: boundaries, headers, other fields.
constexpr std::size_t kMultipartFrameBytes = 64 << 10;

using Seconds = std::chrono::duration<double>;

std::chrono::milliseconds to_milliseconds(double seconds) {
  return std::chrono::round<std::chrono::milliseconds>(Seconds(seconds));
}

struct Settings {
  std::vector<std::string> models;
  std::string store = "sqlite:espy.db";
  std::string precision = "f32";
  store::StoreOptions store_options;
  std::optional<int> keep_days;
  CassandraFlags cassandra;
  CassandraWriterFlags cassandra_writer;
  cassandra::SharedStoreOptions shared;
  std::string acknowledge = "disk";
  image::DecodeLimits limits;
  http::ServerOptions server;
  double request_timeout = Seconds(http::ServerOptions{}.request_timeout).count();
  double idle_timeout = Seconds(http::ServerOptions{}.idle_timeout).count();
  double stop_timeout = Seconds(http::ServerOptions{}.stop_timeout).count();
  std::string log_level = "info";
  std::string log_format = "text";
};

log::Level to_level(const std::string& name) {
  if (name == "debug") return log::Level::debug;
  if (name == "warning") return log::Level::warning;
  if (name == "error") return log::Level::error;
  if (name == "off") return log::Level::off;
  return log::Level::info;
}

struct NamedModel {
  std::string name;
  std::string source;
};

// Reads [NAME=]FILE. Without a name it is the file's, less the folder and ".onnx".
NamedModel parse_named_model(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals != std::string::npos && text.find('/') > equals) {
    return {text.substr(0, equals), text.substr(equals + 1)};
  }
  return {std::filesystem::path(text).stem().string(), text};
}

Result<service::Registry> load_models(const std::vector<std::string>& wanted) {
  std::vector<NamedModel> models;
  for (const std::string& text : wanted) models.push_back(parse_named_model(text));
  if (models.empty()) {
    for (const ShippedModel& shipped : shipped_models()) {
      models.push_back({std::string(shipped.name), std::string(shipped.name)});
    }
  }
  service::Registry registry;
  for (NamedModel& named : models) {
    auto model = load_model(named.source);
    if (!model) return std::move(model).error();
    if (auto added = registry.add(std::move(named.name), *std::move(model)); !added) {
      return std::move(added).error();
    }
  }
  return registry;
}

// SIGTERM and SIGINT, held back from every thread that is started after it was made.
class StopSignals {
 public:
  StopSignals() {
    ::sigemptyset(&signals_);
    ::sigaddset(&signals_, SIGTERM);
    ::sigaddset(&signals_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    // A client or a log reader that goes away is an error of one write, not the end of the program.
    ::signal(SIGPIPE, SIG_IGN);
  }

  // Waits for the first of the signals and returns it; one that comes later ends the program at once, which
  // loses nothing that was answered.
  int wait() const {
    int received = 0;
    ::sigwait(&signals_, &received);
    ::pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
    return received;
  }

 private:
  sigset_t signals_;
};

// Returns "espy 0.1.0 serves digits (version 3fa2b1c09d11), ... on http://127.0.0.1:5000".
std::string ready_line(const service::Registry& registry, const std::string& host, std::uint16_t port) {
  std::vector<std::string> models;
  for (std::size_t index = 0; index < registry.size(); ++index) {
    models.push_back(format("{} (version {})", registry.name(index), registry.model(index)->version()));
  }
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return format("{} serves {} on http://{}:{}", version_text(), join(models, ", "),
                is_ipv6 ? format("[{}]", host) : host, port);
}

struct OpenHistory {
  std::unique_ptr<store::Store> store;
  store::History* everywhere;  // of all that share a keyspace; nullptr: there is no cluster
};

// Opens the history, and the way to the cluster when one is named.
Result<OpenHistory> open_history(Settings& settings) {
  if (settings.keep_days) settings.store_options.max_age = std::chrono::days(*settings.keep_days);
  Result<std::optional<cassandra::ClusterOptions>> cluster = to_cluster(settings.cassandra);
  if (!cluster) return std::move(cluster).error();
  const bool quorum = settings.acknowledge == "quorum";
  if (!*cluster && quorum) {
    return Error{ErrorCode::invalid_input, "--ack quorum needs a cluster: --cassandra HOSTS/KEYSPACE"};
  }
  Result<std::unique_ptr<store::Store>> store = store::Store::open(settings.store, settings.store_options);
  if (!store) return std::move(store).error();
  if (!*cluster) return OpenHistory{*std::move(store), nullptr};
  if (Result<void> added = add_writer(settings.cassandra_writer, **cluster); !added) {
    return std::move(added).error();
  }
  settings.shared.cluster = **std::move(cluster);
  if (quorum) settings.shared.acknowledge = cassandra::Acknowledge::quorum;
  Result<std::unique_ptr<cassandra::SharedStore>> shared =
      cassandra::share(*std::move(store), settings.shared);
  if (!shared) return std::move(shared).error();
  store::History& everywhere = (*shared)->everywhere();
  return OpenHistory{*std::move(shared), &everywhere};
}

ExitStatus serve(Settings settings) {
  const StopSignals signals;
  prefer_short_time_slices();
  const bool json_log = settings.log_format == "json";
  log::configure(to_level(settings.log_level), json_log ? log::Style::json : log::Style::text);

  const auto registry = load_models(settings.models);
  if (!registry) return fail(registry.error());
  const auto history = open_history(settings);
  if (!history) return fail(history.error());
  const auto precision = usable_precision(settings.precision);
  if (!precision) return fail(precision.error());
  const auto classifier = service::Classifier::create(
      *registry, *history->store,
      {.decode_limits = settings.limits, .precision = *precision, .history = history->everywhere});
  if (!classifier) return fail(classifier.error());
  settings.server.max_body_bytes = settings.limits.max_bytes + kMultipartFrameBytes;
  settings.server.request_timeout = to_milliseconds(settings.request_timeout);
  settings.server.idle_timeout = to_milliseconds(settings.idle_timeout);
  settings.server.stop_timeout = to_milliseconds(settings.stop_timeout);
  const auto server = http::Server::open(settings.server, **classifier);
  if (!server) return fail(server.error());

  int received = 0;
  std::thread stopper([&] {
    received = signals.wait();
    log::info("stopping; requests in hand are finished first");
    (*server)->stop();
  });
  const std::string ready = ready_line(*registry, settings.server.host, (*server)->port());
  if (json_log) {
    log::info(ready);
  } else {
    std::fputs((ready + "\n").c_str(), stderr);
  }
  (*server)->run();
  stopper.join();
  return received == SIGINT ? ExitStatus::interrupted : ExitStatus::done;
}

}  // namespace

Action declare_serve(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  flags.texts("--model", "[NAME=]FILE", settings->models,
              format("a model to serve: a file, {}; the first is the default one", shipped_model_names()),
              "digits, garments");
  flags.text("--host", "ADDRESS", settings->server.host, "address to listen on; 0.0.0.0 is every one");
  flags.number<std::uint16_t>("--port", "PORT", settings->server.port, {},
                              "port to listen on; 0 takes a free one");
  flags.number<int>("--threads", "N", settings->server.threads, {0, 1024}, "event loops",
                    "one for each processor");
  flags.choice("--precision", {"f32", "bf16"}, settings->precision,
               "numbers to multiply in; bf16 is quicker where the processor has it, and less exact");
  flags.text("--store", "URL", settings->store, "where records are kept: sqlite:PATH or sqlite::memory:");
  flags.bytes("--max-kept-upload", settings->store_options.max_kept_upload_bytes,
              "larger uploads are not kept beside their record; 0 keeps none");
  flags.optional_number<int>("--keep-days", "DAYS", settings->keep_days, {1, 100'000},
                             "records older than this are removed, little by little; without: none");
  flags.optional_bytes("--keep-bytes", settings->store_options.max_bytes,
                       "the oldest records are removed while the history is larger; without: none");
  declare_cassandra(flags, settings->cassandra);
  declare_cassandra_writer(flags, settings->cassandra_writer);
  flags.number<double>("--cassandra-rate", "N", settings->shared.forwarder.records_per_second, {0, 1e9},
                       "records a second at most on their way to Cassandra; 0: no limit");
  flags.number<std::int64_t>("--max-pending", "N", settings->shared.max_pending, {.least = 1},
                             "with more records that wait for Cassandra, requests are refused");
  flags.choice("--ack", {"disk", "quorum"}, settings->acknowledge,
               "when a request is answered: its record is on disk, or Cassandra has confirmed it as well");
  flags.bytes("--max-upload", settings->limits.max_bytes, "larger uploads are refused");
  flags.number<std::uint64_t>("--max-pixels", "N", settings->limits.max_pixels, {.least = 1},
                              "pictures with more pixels are refused");
  flags.number<std::size_t>("--max-connections", "N", settings->server.max_connections, {.least = 1},
                            "connections at once");
  flags.number<double>("--request-timeout", "SECONDS", settings->request_timeout, {0.001, 86400},
                       "from a request's first byte to its last");
  flags.number<double>("--idle-timeout", "SECONDS", settings->idle_timeout, {0.001, 86400},
                       "between requests of a connection");
  flags.number<double>("--stop-timeout", "SECONDS", settings->stop_timeout, {0, 86400},
                       "for requests in hand when stopping");
  flags.choice("--log-level", {"debug", "info", "warning", "error", "off"}, settings->log_level,
               "how much is told on standard error");
  flags.choice("--log-format", {"text", "json"}, settings->log_format, "how it is told");
  flags.note(
      "SIGTERM or Ctrl-C stops gracefully: requests in hand are answered first. A second one stops at\n"
      "once.");
  return [settings] { return serve(*settings); };
}

}  // namespace espy::cli
