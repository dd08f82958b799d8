#include <gtest/gtest.h>
#include "store/store.h"
TEST(Store, Opens) { ASSERT_TRUE(espy::store::Store::open("sqlite::memory:")); }
