#include "cassandra/cells.h"

#include <algorithm>
#include <bit>

namespace espy::cassandra {
namespace {

constexpr std::int32_t kNull = -1;
constexpr std::int32_t kUnset = -2;
// A date is an unsigned number of days whose middle is 1970-01-01.
constexpr std::int64_t kEpochDay = std::int64_t{1} << 31;

}  // namespace

void CellWriter::size(std::int32_t size) {
  const auto bits = static_cast<std::uint32_t>(size);
  for (int shift = 24; shift >= 0; shift -= 8) bytes_ += static_cast<char>(bits >> shift);
  ++count_;
}

CellWriter& CellWriter::text(std::string_view value) {
  size(static_cast<std::int32_t>(value.size()));
  bytes_ += value;
  return *this;
}

CellWriter& CellWriter::uuid(const Uuid& value) {
  return text({reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size()});
}

CellWriter& CellWriter::real(float value) {
  return big_endian(std::bit_cast<std::uint32_t>(value), sizeof value);
}

CellWriter& CellWriter::date(Day value) {
  return big_endian(static_cast<std::uint64_t>(value.time_since_epoch().count() + kEpochDay), 4);
}

CellWriter& CellWriter::timestamp(std::chrono::sys_time<std::chrono::milliseconds> value) {
  return integer(std::int64_t{value.time_since_epoch().count()});
}

CellWriter& CellWriter::unset() {
  size(kUnset);
  return *this;
}

CellWriter& CellWriter::big_endian(std::uint64_t bits, std::size_t bytes) {
  size(static_cast<std::int32_t>(bytes));
  for (std::size_t i = bytes; i-- > 0;) bytes_ += static_cast<char>(bits >> (8 * i));
  return *this;
}

std::optional<std::string_view> CellReader::cell() {
  if (rest_.size() < 4) broken_ = true;
  if (broken_) return {};
  std::uint32_t bits = 0;
  for (const char byte : rest_.substr(0, 4)) bits = bits << 8 | static_cast<std::uint8_t>(byte);
  const auto size = static_cast<std::int32_t>(bits);
  if (size < kNull || (size > 0 && static_cast<std::size_t>(size) > rest_.size() - 4)) {
    broken_ = true;
    return {};
  }
  const std::string_view value = rest_.substr(4, static_cast<std::size_t>(std::max(size, 0)));
  rest_.remove_prefix(4 + value.size());
  if (size == kNull) return {};
  return value;
}

std::optional<std::string_view> CellReader::cell_of(std::size_t size) {
  const auto value = cell();
  if (value && value->size() != size) {
    broken_ = true;
    return {};
  }
  return value;
}

std::string_view CellReader::text() { return cell().value_or(""); }

Uuid CellReader::uuid() {
  Uuid uuid;
  if (const auto value = cell_of(uuid.bytes.size())) {
    std::copy(value->begin(), value->end(), uuid.bytes.begin());
  }
  return uuid;
}

float CellReader::real() { return std::bit_cast<float>(static_cast<std::uint32_t>(big_endian(4))); }

Day CellReader::date() {
  const auto value = cell_of(4);
  if (!value) return {};
  std::uint32_t bits = 0;
  for (const char byte : *value) bits = bits << 8 | static_cast<std::uint8_t>(byte);
  return Day{std::chrono::days{static_cast<int>(bits - kEpochDay)}};
}

std::chrono::sys_time<std::chrono::milliseconds> CellReader::timestamp() {
  return std::chrono::sys_time<std::chrono::milliseconds>{std::chrono::milliseconds{integer<std::int64_t>()}};
}

std::uint64_t CellReader::big_endian(std::size_t size) {
  std::uint64_t bits = 0;
  const auto value = cell_of(size);
  for (const char byte : value.value_or("")) bits = bits << 8 | static_cast<std::uint8_t>(byte);
  return bits;
}

}  // namespace espy::cassandra
