// Values as Cassandra's native protocol version 4 has them (section 3, [value], and section 6 of its
// specification): a big-endian int32 size, then as many bytes; size -1 is null.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/clock.h"
#include "base/uuid.h"

namespace espy::cassandra {

using Day = std::chrono::sys_days;

// Puts values one after another, in the order of a statement's question marks.
class CellWriter {
 public:
  CellWriter& text(std::string_view value);  // text, blob
  CellWriter& uuid(const Uuid& value);
  CellWriter& real(float value);
  CellWriter& date(Day value);
  CellWriter& timestamp(std::chrono::sys_time<std::chrono::milliseconds> value);
  CellWriter& unset();  // the column stays as it is; a null would be a tombstone

  // tinyint, smallint, int, bigint for int8_t to int64_t.
  template <typename Integer>
  CellWriter& integer(Integer value) {
    static_assert(std::is_signed_v<Integer> && std::is_integral_v<Integer>);
    return big_endian(static_cast<std::uint64_t>(value), sizeof value);
  }

  const std::string& bytes() const { return bytes_; }
  std::uint32_t count() const { return count_; }

 private:
  CellWriter& big_endian(std::uint64_t bits, std::size_t size);
  void size(std::int32_t size);

  std::string bytes_;
  std::uint32_t count_ = 0;
};

// Takes them apart. A value that does not have its type's size, or is not there at all, reads as nothing and
// makes the reader broken for good; a null reads as nothing, too.
class CellReader {
 public:
  explicit CellReader(std::string_view bytes) : rest_(bytes) {}

  std::string_view text();  // text, blob; points into the bytes
  Uuid uuid();
  float real();
  Day date();
  std::chrono::sys_time<std::chrono::milliseconds> timestamp();

  template <typename Integer>
  Integer integer() {
    static_assert(std::is_signed_v<Integer> && std::is_integral_v<Integer>);
    return static_cast<Integer>(big_endian(sizeof(Integer)));
  }

  bool broken() const { return broken_; }
  bool at_end() const { return rest_.empty(); }

 private:
  std::optional<std::string_view> cell();
  std::optional<std::string_view> cell_of(std::size_t size);
  std::uint64_t big_endian(std::size_t size);

  std::string_view rest_;
  bool broken_ = false;
};

}  // namespace espy::cassandra
