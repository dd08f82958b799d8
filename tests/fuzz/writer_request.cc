// What other processes ask of a store's writer: store::parse_writer_request.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "store/writer_socket.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espy::store;
  const auto request = parse_writer_request({reinterpret_cast<const char*>(data), size});
  if (!request) return 0;
  const auto again = parse_writer_request(serialize(*request));
  if (!again || serialize(*again) != serialize(*request)) std::abort();
  return 0;
}
