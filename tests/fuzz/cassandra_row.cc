// Rows of a Cassandra cluster: cassandra::read_record.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cassandra/tables.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  espy::cassandra::CellReader row({reinterpret_cast<const char*>(data), size});
  const auto record = espy::cassandra::read_record(row);
  if (!record) return 0;
  if (to_string(record->verdict).empty() || to_string(record->reason).empty()) std::abort();
  return 0;
}
