// TLS of the gRPC server.
#pragma once

#include <grpc/grpc_security.h>
#include <grpcpp/security/server_credentials.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"

namespace espy::grpc {

// A certificate with its chain, and its key, as they are in their files; handed to gRPC anew when they
// change.
class Certificate {
 public:
  Certificate(std::filesystem::path certificate, std::filesystem::path key)
      : certificate_file_(std::move(certificate)), key_file_(std::move(key)) {}

  // Reads both again; on an error they stay as they were. Any thread may call it.
  // Errors: invalid_input (a file that cannot be read).
  Result<void> load();

  // As grpc_ssl_server_certificate_config_callback: asked at each handshake. Of a pair that does not fit gRPC
  // says so in its log and keeps the one before.
  static grpc_ssl_certificate_config_reload_status fetch(void* self,
                                                         grpc_ssl_server_certificate_config** config);

 private:
  const std::filesystem::path certificate_file_;
  const std::filesystem::path key_file_;
  std::mutex mutex_;  // guards these
  std::string certificate_;
  std::string key_;
  bool is_new_ = false;
};

// TLS 1.2 and 1.3 with gRPC's own choice of ciphers, which all have forward secrecy.
class TlsCredentials final : public ::grpc::ServerCredentials {
 public:
  explicit TlsCredentials(Certificate& certificate) : certificate_(certificate) {}

  void SetAuthMetadataProcessor(const std::shared_ptr<::grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override;

  Certificate& certificate_;
};

}  // namespace espy::grpc
