#include "grpc/certificate.h"

#include <utility>

#include "base/file.h"

namespace espy::grpc {
namespace {

constexpr std::size_t kMaxPemBytes = 1 << 20;

}  // namespace

Result<void> Certificate::load() {
  Result<std::string> certificate = read_file(certificate_file_, kMaxPemBytes);
  if (!certificate) return Error{ErrorCode::invalid_input, std::move(certificate).error().message};
  Result<std::string> key = read_file(key_file_, kMaxPemBytes);
  if (!key) return Error{ErrorCode::invalid_input, std::move(key).error().message};
  const std::lock_guard lock(mutex_);
  if (certificate_ == *certificate && key_ == *key) return {};
  certificate_ = *std::move(certificate);
  key_ = *std::move(key);
  is_new_ = true;
  return {};
}

grpc_ssl_certificate_config_reload_status Certificate::fetch(void* self,
                                                             grpc_ssl_server_certificate_config** config) {
  Certificate& certificate = *static_cast<Certificate*>(self);
  const std::lock_guard lock(certificate.mutex_);
  if (!std::exchange(certificate.is_new_, false)) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const grpc_ssl_pem_key_cert_pair pair{.private_key = certificate.key_.c_str(),
                                        .cert_chain = certificate.certificate_.c_str()};
  // gRPC asks for roots to judge clients by, also where no client is asked for a certificate.
  *config = grpc_ssl_server_certificate_config_create(certificate.certificate_.c_str(), &pair, 1);
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

int TlsCredentials::AddPortToServer(const std::string& address, grpc_server* server) {
  grpc_ssl_server_credentials_options* const options =
      grpc_ssl_server_credentials_create_options_using_config_fetcher(
          GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, Certificate::fetch, &certificate_);
  grpc_server_credentials* const credentials = grpc_ssl_server_credentials_create_with_options(options);
  if (credentials == nullptr) return 0;
  const int port = grpc_server_add_http2_port(server, address.c_str(), credentials);
  grpc_server_credentials_release(credentials);
  return port;
}

}  // namespace espy::grpc
