#include "base/digest.h"

#include <openssl/evp.h>

#include <cassert>
#include <memory>
#include <string_view>

namespace espy {

Sha256 sha256(std::span<const std::byte> bytes) {
  // OpenSSL 3's one-call SHA256() looks the algorithm up under locks each time, which costs more than the
  // digest of a small picture; so it is looked up once, and each thread keeps its context.
  static const std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> algorithm(
      EVP_MD_fetch(nullptr, "SHA256", nullptr), &EVP_MD_free);
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                                     &EVP_MD_CTX_free);
  Sha256 digest;
  [[maybe_unused]] const bool done = EVP_DigestInit_ex2(context.get(), algorithm.get(), nullptr) == 1 &&
                                     EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) == 1 &&
                                     EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) == 1;
  assert(done);
  return digest;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 0x0f];
  }
  return text;
}

}  // namespace espy
