// format("{} of {}", 1, 2): std::format's twin from the fmt library, because GCC 12 does not bring <format>.
// When the compiler does, this header becomes `using std::format;`.
#pragma once

#include <fmt/format.h>

namespace espy {

using fmt::format;

}  // namespace espy
