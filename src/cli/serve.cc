// espy serve: the program as a server, from its start to its graceful stop.
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
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
#include "grpc/server.h"
#include "http/server.h"
#include "service/catalog.h"
#include "service/classifier.h"
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
  std::optional<std::string> model_folder;
  std::string store = "sqlite:espy.db";
  std::string precision = "f32";
  store::StoreOptions store_options;
  std::optional<int> keep_days;
  CassandraFlags cassandra;
  CassandraWriterFlags cassandra_writer;
  cassandra::SharedStoreOptions shared;
  double compare_hours =
      std::chrono::duration<double, std::ratio<3600>>(cassandra::ReconcilerOptions{}.period).count();
  std::string acknowledge = "disk";
  image::DecodeLimits limits;
  http::ServerOptions server;
  double max_wait = 1;  // the longest delay that does not interrupt a thought (Nielsen, 1993)
  double request_timeout = Seconds(http::ServerOptions{}.request_timeout).count();
  double idle_timeout = Seconds(http::ServerOptions{}.idle_timeout).count();
  double stop_timeout = Seconds(http::ServerOptions{}.stop_timeout).count();
  std::optional<std::string> access_log;
  std::string access_log_format = "json";
  std::optional<double> slow_request;
  std::optional<std::string> tls_certificate;
  std::optional<std::string> tls_key;
  std::optional<std::string> keys;
  std::optional<std::uint16_t> grpc_port;
  std::string log_level = "info";
  std::string log_format = "text";
  std::string log_to = "stderr";
};

log::Level to_level(const std::string& name) {
  if (name == "debug") return log::Level::debug;
  if (name == "warning") return log::Level::warning;
  if (name == "error") return log::Level::error;
  if (name == "off") return log::Level::off;
  return log::Level::info;
}

std::optional<std::filesystem::path> to_path(const std::optional<std::string>& text) {
  return text ? std::optional<std::filesystem::path>(*text) : std::nullopt;
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

Result<std::unique_ptr<service::Catalog>> load_models(const Settings& settings) {
  std::vector<NamedModel> models;
  for (const std::string& text : settings.models) models.push_back(parse_named_model(text));
  if (models.empty() && !settings.model_folder) {
    for (const ShippedModel& shipped : shipped_models()) {
      models.push_back({std::string(shipped.name), std::string(shipped.name)});
    }
  }
  auto catalog = std::make_unique<service::Catalog>(
      service::CatalogOptions{.folder = settings.model_folder.value_or("")});
  for (NamedModel& named : models) {
    auto added = catalog->add(std::move(named.name),
                              [source = std::move(named.source)] { return load_model(source); });
    if (!added) return std::move(added).error();
  }
  if (settings.model_folder) {
    if (auto opened = catalog->open_folder(); !opened) return std::move(opened).error();
  }
  return catalog;
}

// SIGTERM, SIGINT and SIGHUP, held back from every thread that is started after it was made.
class Signals {
 public:
  Signals() {
    ::sigemptyset(&signals_);
    ::sigaddset(&signals_, SIGHUP);
    ::sigaddset(&signals_, SIGTERM);
    ::sigaddset(&signals_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    // A client or a log reader that goes away is an error of one write, not the end of the program.
    ::signal(SIGPIPE, SIG_IGN);
  }

  // Waits for one of the signals and returns it; 0 when none has come for so long.
  int wait(std::chrono::seconds longest) const {
    const timespec time{.tv_sec = longest.count(), .tv_nsec = 0};
    const int received = ::sigtimedwait(&signals_, nullptr, &time);
    return received > 0 ? received : 0;
  }

  // While the calling thread lives, SIGTERM and SIGINT end the program at once, which loses nothing that was
  // answered. There is nothing left to reload.
  void let_through() const {
    ::signal(SIGHUP, SIG_IGN);
    ::pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  }

 private:
  sigset_t signals_;
};

// The files that a server reads again when they change.
class WatchedFiles {
 public:
  explicit WatchedFiles(const http::ServerOptions& options) {
    for (const auto& file : {options.tls_certificate, options.tls_key, options.gate.keys}) {
      if (file) files_.emplace_back(*file, time_of(*file));
    }
  }

  bool have_changed() {
    bool changed = false;
    for (auto& [file, time] : files_) {
      const std::filesystem::file_time_type before = std::exchange(time, time_of(file));
      changed |= time != before;
    }
    return changed;
  }

 private:
  // A file that is being replaced may be missing for a moment.
  static std::filesystem::file_time_type time_of(const std::filesystem::path& file) {
    std::error_code ignored;
    return std::filesystem::last_write_time(file, ignored);
  }

  std::vector<std::pair<std::filesystem::path, std::filesystem::file_time_type>> files_;
};

// How soon a change of a watched file is seen.
constexpr std::chrono::seconds kWatchInterval{2};

// Reloads on SIGHUP and when a file has changed, until another signal comes; returns that. `grpc` may be
// nullptr.
int wait_for_stop(const Signals& signals, http::Server& server, grpc::Server* grpc, WatchedFiles files) {
  for (;;) {
    const int received = signals.wait(kWatchInterval);
    if (received == SIGTERM || received == SIGINT) {
      signals.let_through();
      return received;
    }
    const bool changed = files.have_changed();
    if (received != SIGHUP && !changed) continue;
    bool all_read = true;
    for (const Result<void>& reloaded : {server.reload(), grpc ? grpc->reload() : Result<void>()}) {
      if (reloaded) continue;
      log::error(format("{}; what was read before is still in use", reloaded.error().message));
      all_read = false;
    }
    if (all_read) log::info("certificate and keys were read again");
  }
}

// What an operator should know of who can reach the server.
void tell_exposure(const Settings& settings) {
  const std::string& host = settings.server.host;
  const bool is_local = host.starts_with("127.") || host == "::1" || host == "localhost";
  const bool has_keys = settings.server.gate.keys.has_value();
  if (is_local && !has_keys) {
    log::info("only this machine can reach it; --host and --keys open it to others (docs/security.md)");
  } else if (!is_local && !has_keys) {
    log::warning(format(
        "whoever reaches {} may predict and read the whole history: there are no keys (--keys)", host));
  } else if (!is_local && !settings.server.tls_certificate) {
    log::warning("keys cross the network unencrypted, unless a proxy in front encrypts (--tls-certificate)");
  }
}

// Returns "espy 0.1.0 serves digits (version 3fa2b1c09d11), ... on http://127.0.0.1:5000", and with a port of
// gRPC's " and grpc://127.0.0.1:8001" behind it.
std::string ready_line(const service::Registry& registry, const http::ServerOptions& options,
                       std::uint16_t port, std::optional<std::uint16_t> grpc_port) {
  const std::string& host = options.host;
  std::vector<std::string> models;
  for (std::size_t index = 0; index < registry.size(); ++index) {
    models.push_back(format("{} (version {})", registry.name(index), registry.model(index)->version()));
  }
  if (models.empty()) models.emplace_back("no model yet");
  const bool is_ipv6 = host.find(':') != std::string::npos;
  const std::string address = is_ipv6 ? format("[{}]", host) : host;
  const std::string line = format("{} serves {} on {}://{}:{}", version_text(), join(models, ", "),
                                  options.tls_certificate ? "https" : "http", address, port);
  return grpc_port ? format("{} and {}://{}:{}", line, options.tls_certificate ? "grpcs" : "grpc", address,
                            *grpc_port)
                   : line;
}

// Opens the gRPC server beside the HTTP server, with its settings.
Result<std::unique_ptr<grpc::Server>> open_grpc(const http::ServerOptions& options, std::uint16_t port,
                                                http::Server& host) {
  return grpc::Server::open({.host = options.host,
                             .port = port,
                             .max_message_bytes = options.max_body_bytes,
                             .max_metadata_bytes = options.max_head_bytes,
                             .max_calls = options.max_connections,
                             .request_timeout = options.request_timeout,
                             .idle_timeout = options.idle_timeout,
                             .stop_timeout = options.stop_timeout,
                             .tls_certificate = options.tls_certificate,
                             .tls_key = options.tls_key},
                            host);
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
  if (quorum && settings.shared.cluster.consistency != cassandra::Consistency::local_quorum) {
    return Error{ErrorCode::invalid_input,
                 "--ack quorum waits for a quorum, but --cassandra-consistency is one"};
  }
  if (quorum) settings.shared.acknowledge = cassandra::Acknowledge::quorum;
  settings.shared.reconciler.period = to_milliseconds(settings.compare_hours * 3600);
  Result<std::unique_ptr<cassandra::SharedStore>> shared =
      cassandra::share(*std::move(store), settings.shared);
  if (!shared) return std::move(shared).error();
  store::History& everywhere = (*shared)->everywhere();
  return OpenHistory{*std::move(shared), &everywhere};
}

ExitStatus serve(Settings settings) {
  const Signals signals;
  prefer_short_time_slices();
  const bool json_log = settings.log_format == "json";
  log::configure(to_level(settings.log_level), json_log ? log::Style::json : log::Style::text,
                 settings.log_to == "stdout" ? log::Output::standard_output : log::Output::standard_error);

  const auto catalog = load_models(settings);
  if (!catalog) return fail(catalog.error());
  const auto history = open_history(settings);
  if (!history) return fail(history.error());
  const auto precision = usable_precision(settings.precision);
  if (!precision) return fail(precision.error());
  const auto classifier = service::Classifier::create(**catalog, *history->store,
                                                      {.decode_limits = settings.limits,
                                                       .precision = *precision,
                                                       .history = history->everywhere,
                                                       .longest_wait = to_milliseconds(settings.max_wait)});
  if (!classifier) return fail(classifier.error());
  settings.server.max_body_bytes = settings.limits.max_bytes + kMultipartFrameBytes;
  settings.server.request_timeout = to_milliseconds(settings.request_timeout);
  settings.server.idle_timeout = to_milliseconds(settings.idle_timeout);
  settings.server.stop_timeout = to_milliseconds(settings.stop_timeout);
  if (settings.access_log) settings.server.access_log.file = *settings.access_log;
  const bool text_access = settings.access_log_format == "text";
  settings.server.access_log.format = text_access ? http::LogFormat::text : http::LogFormat::json;
  if (settings.slow_request) settings.server.access_log.slow = Seconds(*settings.slow_request / 1000);
  settings.server.tls_certificate = to_path(settings.tls_certificate);
  settings.server.tls_key = to_path(settings.tls_key);
  settings.server.gate.keys = to_path(settings.keys);
  if (settings.grpc_port) settings.server.guest_routes = grpc::guest_routes();
  const auto server = http::Server::open(settings.server, **classifier);
  if (!server) return fail(server.error());
  std::unique_ptr<grpc::Server> grpc;
  if (settings.grpc_port) {
    auto opened = open_grpc(settings.server, *settings.grpc_port, **server);
    if (!opened) return fail(opened.error());
    grpc = *std::move(opened);
  }

  int received = 0;
  std::atomic<bool> served = false;
  std::thread stopper([&] {
    received = wait_for_stop(signals, **server, grpc.get(), WatchedFiles(settings.server));
    log::info("stopping; requests in hand are finished first");
    (*server)->stop();
    if (grpc) grpc->stop();
    served.wait(false);  // this is the thread that a second signal finds
  });
  const std::string ready = ready_line(*(*catalog)->registry(), settings.server, (*server)->port(),
                                       grpc ? std::optional(grpc->port()) : std::nullopt);
  if (json_log) {
    log::info(ready);
  } else {
    std::FILE* const output = settings.log_to == "stdout" ? stdout : stderr;
    std::fputs((ready + "\n").c_str(), output);
    std::fflush(output);
  }
  tell_exposure(settings);
  (*server)->run();
  served = true;
  served.notify_one();
  stopper.join();
  signals.let_through();
  return received == SIGINT ? ExitStatus::interrupted : ExitStatus::done;
}

}  // namespace

Action declare_serve(Flags& flags) {
  auto settings = std::make_shared<Settings>();
  flags.texts("--model", "[NAME=]FILE", settings->models,
              format("a model to serve: a file, {}; the first is the default one", shipped_model_names()),
              "digits, garments; none with a folder");
  flags.optional_text("--model-folder", "DIR", settings->model_folder,
                      "also the models DIR/NAME/VERSION.onnx and DIR/NAME/VERSION/ANYTHING.onnx; what comes, "
                      "changes or goes there while serving is loaded, replaced or unloaded");
  flags.text("--host", "ADDRESS", settings->server.host, "address to listen on; 0.0.0.0 is every one");
  flags.number<std::uint16_t>("--port", "PORT", settings->server.port, {},
                              "port to listen on; 0 takes a free one");
  flags.optional_number<std::uint16_t>(
      "--grpc-port", "PORT", settings->grpc_port, {},
      "also answer over gRPC (Open Inference Protocol, health) on this port; "
      "8001 is customary, 0 takes a free one; without: HTTP alone");
  flags.optional_text("--tls-certificate", "FILE", settings->tls_certificate,
                      "the certificate and its chain (PEM); with it only TLS is spoken");
  flags.optional_text("--tls-key", "FILE", settings->tls_key, "the certificate's key (PEM)");
  flags.optional_text("--keys", "FILE", settings->keys,
                      "who may do what (espy key create); without it everybody may do everything");
  flags.number<double>("--rate", "N", settings->server.gate.requests_per_second, {0, 1e9},
                       "requests a second of one key, or of one address without one; 0: no limit");
  flags.texts("--cors-origin", "ORIGIN", settings->server.gate.cors_origins,
              "whose pages may ask from a browser, such as https://example.org; * is everybody's", "none");
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
  flags.number<double>("--cassandra-compare", "HOURS", settings->compare_hours, {0, 1e6},
                       "from one comparison of the history with Cassandra to the next; 0: none");
  flags.number<std::int64_t>("--max-pending", "N", settings->shared.max_pending, {.least = 1},
                             "with more records that wait for Cassandra, requests are refused");
  flags.choice("--ack", {"disk", "quorum"}, settings->acknowledge,
               "when a request is answered: its record is on disk, or Cassandra has confirmed it as well");
  flags.bytes("--max-upload", settings->limits.max_bytes, "larger uploads are refused");
  flags.number<std::uint64_t>("--max-pixels", "N", settings->limits.max_pixels, {.least = 1},
                              "pictures of a request with more pixels together are refused");
  flags.number<std::size_t>("--max-connections", "N", settings->server.max_connections, {.least = 1},
                            "connections at once");
  flags.number<double>("--max-wait", "SECONDS", settings->max_wait, {0.001, 3600},
                       "a request that would wait longer for its turn and the disk is refused with 503");
  flags.number<double>("--request-timeout", "SECONDS", settings->request_timeout, {0.001, 86400},
                       "from a request's first byte to its last, and from there to its answer");
  flags.number<double>("--idle-timeout", "SECONDS", settings->idle_timeout, {0.001, 86400},
                       "between requests of a connection");
  flags.number<double>("--stop-timeout", "SECONDS", settings->stop_timeout, {0, 86400},
                       "for requests in hand when stopping");
  flags.optional_text(
      "--access-log", "FILE", settings->access_log,
      "where each request is told, a line each; - is standard output; SIGHUP opens the file anew");
  flags.choice("--access-log-format", {"json", "text"}, settings->access_log_format, "how they are told");
  flags.optional_number<double>("--slow-request", "MS", settings->slow_request, {0, 86'400'000},
                                "requests that take longer are told on standard error; without: none");
  flags.choice("--log-level", {"debug", "info", "warning", "error", "off"}, settings->log_level,
               "how much of what happens is told");
  flags.choice("--log-format", {"text", "json"}, settings->log_format, "how it is told");
  flags.choice("--log-to", {"stderr", "stdout"}, settings->log_to, "where it is told");
  flags.note(
      "SIGTERM or Ctrl-C stops gracefully: requests in hand are answered first. A second one stops at\n"
      "once. The certificate and the keys are read again when their files change, and on SIGHUP.");
  return [settings] { return serve(*settings); };
}

}  // namespace espy::cli
