#include "cli/exit_status.h"

namespace espy::cli {

ExitStatus exit_status(ErrorCode code) {
  // Without a default, so that a new code has to be thought about here.
  switch (code) {
    case ErrorCode::invalid_input:
    case ErrorCode::too_large:
    case ErrorCode::not_found:
    case ErrorCode::unavailable:
    case ErrorCode::corrupt:
    case ErrorCode::internal:
      return ExitStatus::failed;
  }
  return ExitStatus::failed;
}

}  // namespace espy::cli
