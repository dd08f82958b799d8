// Whether an answer may be believed: a blank picture has a most likely class too, but no meaning.
#pragma once

#include <cstdint>
#include <string_view>

namespace espy {

// NOTE: the values of both are stored in histories; never change those of existing entries.

enum class Verdict : std::uint8_t {
  recognized = 0,
  not_recognized = 1,  // the answer means nothing
  unsure = 2,          // the answer is the likeliest, but others are likely too
};

// Why an answer is not simply recognized.
enum class Reason : std::uint8_t {
  none = 0,       // it is, or the record is older than reasons
  blank = 1,      // not_recognized: there is nothing to see in the picture
  foreign = 2,    // not_recognized: it looks like nothing that the model was trained on
  ambiguous = 3,  // unsure: it could well be something else
};

// Return the enumerator's own spelling, which is also the wire's.
constexpr std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::recognized:
      return "recognized";
    case Verdict::not_recognized:
      return "not_recognized";
    case Verdict::unsure:
      return "unsure";
  }
  return "";
}

constexpr std::string_view to_string(Reason reason) {
  switch (reason) {
    case Reason::none:
      return "none";
    case Reason::blank:
      return "blank";
    case Reason::foreign:
      return "foreign";
    case Reason::ambiguous:
      return "ambiguous";
  }
  return "";
}

}  // namespace espy
