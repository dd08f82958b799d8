// SHA-256 (FIPS 180-4): the name of a content, for model versions and uploads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace espy {

using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(std::span<const std::byte> bytes);

// Returns the digest of the parts one after another.
Sha256 sha256(std::initializer_list<std::span<const std::byte>> parts);

// Returns two lower-case digits a byte.
std::string to_hex(std::span<const std::uint8_t> bytes);

}  // namespace espy
