#include "model/calibration_copies.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>
#include <span>
#include <vector>

#include "model/augment.h"
#include "nn/random.h"

namespace espy::model {
namespace {

constexpr std::size_t kSide = image::kInputSide;
constexpr std::size_t kPixels = kSide * kSide;
constexpr std::uint64_t kSeed = 1;

float at(std::span<const float> values, std::size_t row, std::size_t column) {
  return values[row * kSide + column];
}

// Fills `changed` with combine(the pixel, the eight around it) within, zeros outside counting as pixels.
template <typename Combine>
void filter(std::span<const float> values, std::span<float> changed, const Combine& combine) {
  for (std::size_t row = 0; row < kSide; ++row) {
    for (std::size_t column = 0; column < kSide; ++column) {
      std::array<float, 9> window = {};
      for (std::size_t k = 0; k < 9; ++k) {
        const std::size_t y = row + k / 3;
        const std::size_t x = column + k % 3;
        if (y >= 1 && y <= kSide && x >= 1 && x <= kSide) window[k] = at(values, y - 1, x - 1);
      }
      changed[row * kSide + column] = combine(window);
    }
  }
}

float binomial(const std::array<float, 9>& window) {
  return (window[0] + window[2] + window[6] + window[8]) / 16 +
         (window[1] + window[3] + window[5] + window[7]) / 8 + window[4] / 4;
}

// ---- lines

struct Point {
  float x = 0;
  float y = 0;
};
using Line = std::vector<Point>;

// A mask in a frame of one pixel that is never set.
constexpr int kFramed = static_cast<int>(kSide) + 2;
using Mask = std::array<std::uint8_t, static_cast<std::size_t>(kFramed* kFramed)>;

// The eight around a pixel, clockwise from the upper one.
constexpr std::array<int, 8> kAround = {-kFramed, -kFramed + 1, 1,  kFramed + 1,
                                        kFramed,  kFramed - 1,  -1, -kFramed - 1};

std::uint8_t& at(Mask& mask, int place) { return mask[static_cast<std::size_t>(place)]; }

// Zhang & Suen's condition of a pass, 0 or 1.
bool removable(Mask& mask, int place, int pass) {
  std::array<bool, 8> set;
  int count = 0;
  for (std::size_t i = 0; i < 8; ++i) count += (set[i] = at(mask, place + kAround[i]) != 0) ? 1 : 0;
  if (count < 2 || count > 6) return false;
  int rises = 0;
  for (std::size_t i = 0; i < 8; ++i) rises += !set[i] && set[(i + 1) % 8] ? 1 : 0;
  if (rises != 1) return false;
  const auto [up, right, down, left] = std::array{set[0], set[2], set[4], set[6]};
  return pass == 0 ? !(up && right && down) && !(right && down && left)
                   : !(up && right && left) && !(up && down && left);
}

// Leaves lines of one pixel's width, and returns their pixels.
std::vector<int> thin(Mask& mask) {
  std::vector<int> places;
  for (int place = 0; place < kFramed * kFramed; ++place) {
    if (at(mask, place) != 0) places.push_back(place);
  }
  std::vector<int> removed;
  int idle_passes = 0;
  for (int pass = 0; idle_passes < 2; pass = 1 - pass) {
    removed.clear();
    for (const int place : places) {
      if (removable(mask, place, pass)) removed.push_back(place);
    }
    for (const int place : removed) at(mask, place) = 0;
    std::erase_if(places, [&](int place) { return at(mask, place) == 0; });
    idle_passes = removed.empty() ? idle_passes + 1 : 0;
  }
  return places;
}

Point centre_of(int place) {
  return {static_cast<float>(place % kFramed - 1), static_cast<float>(place / kFramed - 1)};
}

// Returns lines that together run through all of these pixels, ends first; where one begins or ends beside
// an earlier one, it touches it.
std::vector<Line> trace(Mask& mask, const std::vector<int>& places) {
  constexpr std::uint8_t kFree = 1;
  constexpr std::uint8_t kTaken = 2;
  const auto next_of = [&](int place, std::uint8_t state, int without) -> std::optional<int> {
    // Straight neighbours before slanted ones, so that no corner is cut.
    for (const std::size_t first : {std::size_t{0}, std::size_t{1}}) {
      for (std::size_t i = first; i < 8; i += 2) {
        const int next = place + kAround[i];
        if (next != without && at(mask, next) == state) return next;
      }
    }
    return std::nullopt;
  };
  const auto is_end = [&](int place) {
    return std::ranges::count_if(kAround, [&](int step) { return at(mask, place + step) != 0; }) <= 1;
  };
  std::vector<int> starts = places;
  std::ranges::stable_partition(starts, is_end);
  std::vector<Line> lines;
  for (const int start : starts) {
    if (at(mask, start) != kFree) continue;
    Line line;
    if (const auto touched = next_of(start, kTaken, start)) line.push_back(centre_of(*touched));
    int before = start;
    for (std::optional<int> place = start; place;) {
      at(mask, *place) = kTaken;
      line.push_back(centre_of(*place));
      const std::optional<int> next = next_of(*place, kFree, *place);
      if (!next) {
        if (const auto touched = next_of(*place, kTaken, before)) line.push_back(centre_of(*touched));
      }
      before = *place;
      place = next;
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

float distance(const Point& point, const Point& from, const Point& to) {
  const float across = to.x - from.x;
  const float down = to.y - from.y;
  const float square = across * across + down * down;
  const float along = square == 0 ? 0 : ((point.x - from.x) * across + (point.y - from.y) * down) / square;
  const float share = std::clamp(along, 0.0F, 1.0F);
  return std::hypot(point.x - from.x - share * across, point.y - from.y - share * down);
}

// Appends what is left of points[first..last] without the first.
void straighten(const Line& points, std::size_t first, std::size_t last, float tolerance, Line& left) {
  float furthest = tolerance;
  std::size_t corner = last;
  for (std::size_t i = first + 1; i < last; ++i) {
    const float strays = distance(points[i], points[first], points[last]);
    if (strays > furthest) {
      furthest = strays;
      corner = i;
    }
  }
  if (corner == last) {
    left.push_back(points[last]);
    return;
  }
  straighten(points, first, corner, tolerance, left);
  straighten(points, corner, last, tolerance, left);
}

Line straightened(const Line& points, float tolerance) {
  Line left = {points.front()};
  if (points.size() > 1) straighten(points, 0, points.size() - 1, tolerance, left);
  return left;
}

// Fits lines that are drawn with a pen of this width into 20x20 pixels, their mass in the centre.
void normalize(std::vector<Line>& lines, float width) {
  constexpr float kBox = 20;
  constexpr float kCentre = 14 - 0.5F;  // the corner between four pixels is 14; a pixel's place is its middle
  Point least{kSide, kSide};
  Point greatest{-1.0F * kSide, -1.0F * kSide};
  for (const Line& line : lines) {
    for (const Point& point : line) {
      least = {std::min(least.x, point.x), std::min(least.y, point.y)};
      greatest = {std::max(greatest.x, point.x), std::max(greatest.y, point.y)};
    }
  }
  const float longest = std::max({greatest.x - least.x, greatest.y - least.y, 1.0F});
  const float scale = (kBox - width) / longest;
  float length = 0;
  Point sum;
  for (Line& line : lines) {
    for (Point& point : line) point = {scale * point.x, scale * point.y};
    for (std::size_t i = 0; i + 1 < line.size(); ++i) {
      const float part = std::hypot(line[i + 1].x - line[i].x, line[i + 1].y - line[i].y);
      length += part;
      sum.x += part * (line[i].x + line[i + 1].x) / 2;
      sum.y += part * (line[i].y + line[i + 1].y) / 2;
    }
  }
  const Point mean = length > 0 ? Point{sum.x / length, sum.y / length} : lines.front().front();
  for (Line& line : lines) {
    for (Point& point : line) point = {point.x - mean.x + kCentre, point.y - mean.y + kCentre};
  }
}

// Draws with a round pen; edges are as soft as a pixel.
void draw(const Point& from, const Point& to, float width, std::array<float, kPixels>& ink) {
  const float reach = width / 2 + 0.5F;
  const auto bound = [](float value) {
    return static_cast<std::size_t>(std::clamp(value, 0.0F, static_cast<float>(kSide)));
  };
  const std::size_t right = bound(std::max(from.x, to.x) + reach + 1);
  const std::size_t bottom = bound(std::max(from.y, to.y) + reach + 1);
  for (std::size_t row = bound(std::min(from.y, to.y) - reach); row < bottom; ++row) {
    for (std::size_t column = bound(std::min(from.x, to.x) - reach); column < right; ++column) {
      const Point here{static_cast<float>(column), static_cast<float>(row)};
      const float covered = std::clamp(reach - distance(here, from, to), 0.0F, 1.0F);
      ink[row * kSide + column] = std::max(ink[row * kSide + column], covered);
    }
  }
}

nn::RandomSequence random_of(std::uint64_t seed, std::size_t sample) {
  return nn::RandomSequence(nn::mix(seed + nn::kGoldenGamma * (sample + 1)));
}

image::Input to_input(const std::array<float, kPixels>& values) {
  image::Input input;
  std::ranges::transform(values, input.begin(), [](float value) {
    return static_cast<std::uint8_t>(std::clamp(value * 255, 0.0F, 255.0F));
  });
  return input;
}

}  // namespace

image::Input worn_copy(const image::Input& input, std::size_t sample) {
  constexpr Augmentation kTurn = {.rotation = 12, .scale = 0.05F, .translation = 1};
  std::array<float, kPixels> turned;
  augment(input, kTurn, kSeed, sample, 0, turned);
  nn::RandomSequence random = random_of(kSeed, sample);
  const auto kind = static_cast<int>(4 * random.next_uniform());
  auto degree = static_cast<float>(random.next_uniform());
  std::array<float, kPixels> changed;
  if (kind < 2) {
    constexpr float kMostDegree = 0.6F;  // a whole pixel on each side is as much as a thin stroke has
    degree *= kMostDegree;
    filter(turned, changed, [kind](const auto& window) {
      return kind == 0 ? *std::ranges::max_element(window) : *std::ranges::min_element(window);
    });
  } else if (kind == 2) {
    filter(turned, changed, binomial);
  } else {
    constexpr float kGamma = 1.6F;
    std::ranges::transform(turned, changed.begin(), [](float value) { return std::pow(value, kGamma); });
  }
  for (std::size_t i = 0; i < kPixels; ++i) changed[i] = turned[i] + degree * (changed[i] - turned[i]);
  return to_input(changed);
}

image::Input redrawn_copy(const image::Input& input, std::size_t sample) {
  const int threshold = *std::ranges::max_element(input) / 2;
  Mask mask = {};
  for (std::size_t i = 0; i < kPixels; ++i) {
    mask[(i / kSide + 1) * kFramed + i % kSide + 1] = input[i] > threshold ? 1 : 0;
  }
  const std::vector<int> places = thin(mask);
  if (places.empty()) return input;
  std::vector<Line> lines = trace(mask, places);

  nn::RandomSequence random = random_of(kSeed + 1, sample);
  const auto between = [&random](double least, double greatest) {
    return static_cast<float>(least + (greatest - least) * random.next_uniform());
  };
  const float tolerance = between(0.5, 1.5);
  const float width = std::exp(between(std::log(1.2), std::log(4.5)));
  const float angle = between(-12, 12) * std::numbers::pi_v<float> / 180;
  const float slant = between(-0.2, 0.2);
  const float stretch = between(0.8, 1.25);
  for (Line& line : lines) {
    line = straightened(line, tolerance);
    for (Point& point : line) {
      const float x = stretch * point.x + slant * point.y;
      point = {std::cos(angle) * x - std::sin(angle) * point.y,
               std::sin(angle) * x + std::cos(angle) * point.y};
    }
  }
  normalize(lines, width);
  std::array<float, kPixels> ink = {};
  for (const Line& line : lines) {
    if (line.size() == 1) draw(line[0], line[0], width, ink);
    for (std::size_t i = 0; i + 1 < line.size(); ++i) draw(line[i], line[i + 1], width, ink);
  }
  return to_input(ink);
}

}  // namespace espy::model
