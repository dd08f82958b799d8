// espy health: whether a server takes requests, for health checks of containers and of people.
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/format.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "http/probe.h"
#include "http/server.h"

namespace espy::cli {
namespace {

// A server that needs longer to say that it is ready is not.
constexpr std::chrono::seconds kPatience{2};

struct HealthSettings {
  std::string url;
  std::string host = http::ServerOptions{}.host;
  std::uint16_t port = http::ServerOptions{}.port;
  std::optional<std::string> tls_certificate;
};

ExitStatus check_health(const HealthSettings& settings) {
  // The addresses for every interface, 0.0.0.0 and ::, lead to this machine when connected to (Linux).
  http::Url url{settings.host, settings.port, "/readyz", settings.tls_certificate.has_value()};
  if (!settings.url.empty()) {
    Result<http::Url> given = http::parse_url(settings.url);
    if (!given) return fail(given.error());
    url = *std::move(given);
    if (url.path == "/") url.path = "/readyz";
  }
  const Result<int> status = http::probe(url, kPatience);
  if (!status) return fail(status.error());
  if (*status == 200) {
    print("ok\n");
    return ExitStatus::done;
  }
  return fail({ErrorCode::unavailable, format("{}:{}{} answers {}", url.host, url.port, url.path, *status)});
}

}  // namespace

Action declare_health(Flags& flags) {
  auto settings = std::make_shared<HealthSettings>();
  flags.optional_argument(
      "URL", settings->url,
      "http[s]://HOST[:PORT][/PATH]; without a path /readyz is asked; without a URL the server "
      "that the same flags, or their variables, make");
  flags.text("--host", "ADDRESS", settings->host, "address that the server listens on");
  flags.number<std::uint16_t>("--port", "PORT", settings->port, {1}, "port that the server listens on");
  flags.optional_text("--tls-certificate", "FILE", settings->tls_certificate,
                      "the server has one: ask over TLS, whoever the certificate names");
  flags.note("Exit status 0: it answers 200, within 2 seconds. Any other: it does not.");
  return [settings] { return check_health(*settings); };
}

}  // namespace espy::cli
