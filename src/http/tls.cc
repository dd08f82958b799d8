#include "http/tls.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <string_view>

#include "base/format.h"

namespace espy::http {
namespace {

namespace ssl = boost::asio::ssl;

// Of TLS 1.2 what has forward secrecy and authenticates what it encrypts (RFC 9325 section 4.2); all of TLS
// 1.3 has both.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

// RFC 7301: who offers protocols is told which one this is; who offers none that we speak is let go.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_bytes,
                    const unsigned char* offered, unsigned offered_bytes, void*) {
  static constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* match = nullptr;
  const int found =
      SSL_select_next_proto(&match, chosen_bytes, kHttp11, sizeof kHttp11, offered, offered_bytes);
  *chosen = match;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

Result<std::shared_ptr<ssl::context>> load_tls(const std::filesystem::path& certificate,
                                               const std::filesystem::path& key) {
  const auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native,
                      SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);          // idle connections keep no buffers
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);  // clients keep tickets instead
  SSL_CTX_set_alpn_select_cb(native, choose_protocol, nullptr);
  boost::system::error_code error;
  if (SSL_CTX_set_cipher_list(native, kCiphers) != 1) {
    return Error{ErrorCode::internal, format("OpenSSL knows none of {}", kCiphers)};
  }
  context->use_certificate_chain_file(certificate.string(), error);
  if (error) {
    return Error{ErrorCode::invalid_input,
                 format("cannot read the certificate {}: {}", certificate.string(), error.message())};
  }
  context->use_private_key_file(key.string(), ssl::context::pem, error);
  if (error) {
    return Error{ErrorCode::invalid_input, format("cannot read the key {} of the certificate {}: {}",
                                                  key.string(), certificate.string(), error.message())};
  }
  return context;
}

}  // namespace espy::http
