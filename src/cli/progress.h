// How a training is going, on a terminal or in a log.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "model/train.h"

namespace espy::cli {

// Returns the line of one epoch: "epoch 3/15: loss 0.3312, accuracy 88.10 %, 51,030 images/s, 0:12 left".
std::string epoch_line(const model::Progress& progress);

// Returns one line with a bar, of at most `width` columns; what does not fit is left out.
std::string progress_bar(const model::Progress& progress, int width);

// Draws the bar over itself, at most ten times a second. Threads: one.
class ProgressDisplay {
 public:
  using Now = std::function<std::chrono::steady_clock::time_point()>;
  // Shows a text with its control characters.
  using Show = std::function<void(const std::string&)>;

  ProgressDisplay(int width, Show show, Now now = std::chrono::steady_clock::now);
  // Leaves the line, when one was drawn.
  ~ProgressDisplay();
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  void update(const model::Progress& progress);

 private:
  int width_;
  Show show_;
  Now now_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace espy::cli
