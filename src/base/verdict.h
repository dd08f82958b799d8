// Whether an answer may be believed: a blank picture has a most likely class too, but no meaning.
#pragma once

#include <cstdint>
#include <string_view>

namespace espy {

// NOTE: the values are stored in histories; never change those of existing entries.
enum class Verdict : std::uint8_t {
  recognized = 0,
  not_recognized = 1,  // nothing to see in the picture
};

// Returns the enumerator's own spelling, which is also the wire's.
constexpr std::string_view to_string(Verdict verdict) {
  return verdict == Verdict::recognized ? "recognized" : "not_recognized";
}

}  // namespace espy
