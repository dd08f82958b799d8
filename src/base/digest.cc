#include "base/digest.h"

#include <openssl/evp.h>

#include <cassert>
#include <memory>

#include "base/hex.h"

namespace espy {

Sha256 sha256(std::span<const std::byte> bytes) { return sha256({bytes}); }

Sha256 sha256(std::initializer_list<std::span<const std::byte>> parts) {
  // OpenSSL 3's one-call SHA256() looks the algorithm up under locks each time, which costs more than the
  // digest of a small picture; so it is looked up once, and each thread keeps its context.
  static const std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> algorithm(
      EVP_MD_fetch(nullptr, "SHA256", nullptr), &EVP_MD_free);
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                                     &EVP_MD_CTX_free);
  Sha256 digest;
  [[maybe_unused]] bool done = EVP_DigestInit_ex2(context.get(), algorithm.get(), nullptr) == 1;
  for (const std::span<const std::byte> part : parts) {
    done = done && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  }
  done = done && EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) == 1;
  assert(done);
  return digest;
}

std::optional<Sha256> parse_sha256(std::string_view text) {
  Sha256 digest;
  if (!parse_hex(text, digest)) return {};
  return digest;
}

}  // namespace espy
