#include "cli/progress.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "base/format.h"
#include "cli/text.h"

namespace espy::cli {
namespace {

constexpr std::chrono::milliseconds kBetweenDrawings{100};
constexpr int kWidestBar = 30;
constexpr int kNarrowestBar = 8;
// On a narrower terminal the figures need the place.
constexpr int kBarFrom = 40;

double share_done(const model::Progress& progress) {
  return static_cast<double>(progress.step) / std::max(1, progress.steps);
}

std::string time_left(const model::Progress& progress) {
  const double done = share_done(progress);
  if (done == 0) return "?:??";
  return to_clock_text(progress.elapsed * ((1 - done) / done));
}

std::string speed(const model::Progress& progress) {
  return grouped(static_cast<std::uint64_t>(std::llround(std::max(0.0, progress.images_a_second))));
}

}  // namespace

std::string epoch_line(const model::Progress& progress) {
  return format("epoch {}/{}: loss {:.4f}, accuracy {}, {} images/s, {} left", progress.epoch,
                progress.epochs, progress.loss, percent(progress.accuracy), speed(progress),
                time_left(progress));
}

std::string progress_bar(const model::Progress& progress, int width) {
  // On a narrow terminal the last ones are left out.
  const std::string parts[] = {
      format("{:3.0f} %", std::floor(100 * share_done(progress))),
      format("{} left", time_left(progress)),
      format("loss {:.4f}", progress.loss),
      format("accuracy {}", percent(progress.accuracy)),
      format("{} images/s", speed(progress)),
      format("epoch {}/{}", progress.epoch, progress.epochs),
  };
  const int bar_place = kNarrowestBar + 3;
  const auto place = static_cast<std::size_t>(width >= kBarFrom ? width - bar_place : std::max(0, width));
  std::string line;
  for (const std::string& part : parts) {
    const std::size_t needed = line.size() + (line.empty() ? 0 : 2) + part.size();
    if (needed > place) break;
    if (!line.empty()) line += "  ";
    line += part;
  }
  const int bar_width = std::min(kWidestBar, width - static_cast<int>(line.size()) - 3);
  if (width < kBarFrom) return line;
  const auto filled = static_cast<std::size_t>(share_done(progress) * bar_width);
  std::string bar(filled, '=');
  if (filled < static_cast<std::size_t>(bar_width)) bar += '>';
  bar.resize(static_cast<std::size_t>(bar_width), ' ');
  return format("[{}] {}", bar, line);
}

ProgressDisplay::ProgressDisplay(int width, Show show, Now now)
    : width_(width), show_(std::move(show)), now_(std::move(now)) {}

ProgressDisplay::~ProgressDisplay() {
  if (drawn_) show_("\n");
}

void ProgressDisplay::update(const model::Progress& progress) {
  const auto now = now_();
  const bool last = progress.step == progress.steps;
  if (drawn_ && !last && now - last_ < kBetweenDrawings) return;
  // "Erase in line" (ECMA-48, 8.3.41) takes away what a longer line has left.
  show_("\r" + progress_bar(progress, width_) + "\x1b[K");
  drawn_ = true;
  last_ = now;
}

}  // namespace espy::cli
