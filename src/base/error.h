// The one way to fail. A function that the outside world can make fail returns Result<T> (result.h), whose
// failure is an Error; what only our own mistake can cause is an assertion instead.
#pragma once

#include <string>
#include <string_view>

namespace espy {

// What the caller should do about it. The names are the wire spelling: {"error": {"code": "too_large", ...}}.
enum class ErrorCode {
  invalid_input,  // send something else
  too_large,      // send less
  not_found,      // ask for something else
  unavailable,    // try again later
  corrupt,        // have an operator look at a file
  internal,       // report a bug
};

struct Error {
  ErrorCode code;
  // What was wrong, with the value and the limit; lower case, no full stop:
  // "image is 9000x9000, limit is 4096x4096".
  std::string message;
};

// Returns the enumerator's own spelling.
std::string_view to_string(ErrorCode code);

}  // namespace espy
