#include "http/text.h"

#include <gtest/gtest.h>

namespace espy::http {
namespace {

TEST(Escape, MakesMarkupIntoText) {
  EXPECT_EQ(escape("<img src=\"x\" onerror='a&b'>").text,
            "&lt;img src=&quot;x&quot; onerror=&#39;a&amp;b&#39;&gt;");
}

}  // namespace
}  // namespace espy::http
