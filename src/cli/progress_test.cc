#include "cli/progress.h"

#include <gtest/gtest.h>

#include <string>

#include "cli/text.h"

namespace espy::cli {
namespace {

using namespace std::chrono_literals;

model::Progress halfway() {
  return {.step = 500,
          .steps = 1000,
          .epoch = 3,
          .epochs = 15,
          .epoch_ends = false,
          .loss = 0.33124,
          .accuracy = 0.881,
          .images_a_second = 51'030,
          .elapsed = 12s};
}

TEST(Progress, AnEpochIsOneLine) {
  EXPECT_EQ(epoch_line(halfway()), "epoch 3/15: loss 0.3312, accuracy 88.10 %, 51,030 images/s, 0:12 left");
}

TEST(Progress, ABarShowsEverythingOnAWideTerminal) {
  EXPECT_EQ(progress_bar(halfway(), 200),
            "[===============>              ]  50 %  0:12 left  loss 0.3312  accuracy 88.10 %  "
            "51,030 images/s  epoch 3/15");
  EXPECT_EQ(progress_bar(halfway(), 80),
            "[======>      ]  50 %  0:12 left  loss 0.3312  accuracy 88.10 %  51,030 images/s");
}

TEST(Progress, ABarFitsAnyWidth) {
  for (int width = 0; width < 200; ++width) {
    EXPECT_LE(display_width(progress_bar(halfway(), width)), static_cast<std::size_t>(width));
  }
}

TEST(Progress, ABarIsFullAtTheEnd) {
  model::Progress progress = halfway();
  progress.step = progress.steps;
  EXPECT_TRUE(progress_bar(progress, 200).starts_with("[==============================] 100 %  0:00 left"));
}

TEST(Progress, DrawsAtMostTenTimesASecondAndAlwaysTheEnd) {
  std::chrono::steady_clock::time_point now{};
  int drawings = 0;
  std::string shown;
  {
    ProgressDisplay display(
        80,
        [&](const std::string& text) {
          ++drawings;
          shown = text;
        },
        [&] { return now; });
    model::Progress progress = halfway();
    for (int millisecond = 0; millisecond < 1000; ++millisecond) {
      display.update(progress);
      now += 1ms;
    }
    EXPECT_EQ(drawings, 10);
    progress.step = progress.steps;
    display.update(progress);
    EXPECT_EQ(drawings, 11);
    EXPECT_TRUE(shown.starts_with("\r[")) << shown;
  }
  EXPECT_EQ(shown, "\n");
}

}  // namespace
}  // namespace espy::cli
