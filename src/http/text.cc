#include "http/text.h"

namespace espy::http {

Html escape(std::string_view text) {
  Html html;
  html.text.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        html.text += "&amp;";
        break;
      case '<':
        html.text += "&lt;";
        break;
      case '>':
        html.text += "&gt;";
        break;
      case '"':
        html.text += "&quot;";
        break;
      case '\'':
        html.text += "&#39;";
        break;
      default:
        html.text += c;
    }
  }
  return html;
}

}  // namespace espy::http
