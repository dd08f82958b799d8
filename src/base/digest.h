// SHA-256 (FIPS 180-4): the name of a content, for model versions and uploads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

namespace espy {

using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(std::span<const std::byte> bytes);

// Returns the digest of the parts one after another.
Sha256 sha256(std::initializer_list<std::span<const std::byte>> parts);

// Reads a digest as to_hex writes it; nothing for any other text.
std::optional<Sha256> parse_sha256(std::string_view text);

}  // namespace espy
