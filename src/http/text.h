// Foreign text made safe to show.
#pragma once

#include <string>
#include <string_view>

namespace espy::http {

// Text that may stand in a page as it is.
struct Html {
  std::string text;
};

// Escapes & < > " ', so that the text stands for itself in an element and in a quoted attribute.
Html escape(std::string_view text);

}  // namespace espy::http
