#include "store/store.h"
#include <gtest/gtest.h>
TEST(Store, Opens) { ASSERT_TRUE(espy::store::Store::open("sqlite::memory:")); }
