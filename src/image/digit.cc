// MNIST's own normalisation, from any picture of a digit.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>

#include "image/ink.h"
#include "image/outline.h"
#include "image/preparations.h"
#include "image/resample.h"

namespace espy::image {
namespace {

// A digit is scaled to fit this box.
constexpr int kBoxSide = 20;

// What MNIST's 70,000 pictures have, measured: the longer side of the ink is 20, in 16 pictures 19; the
// brightest pixel is 255 or 254; the centre of mass is in (14, 15], in three pictures down to 13.98.
constexpr int kLeastBoxSide = 19;
constexpr int kLeastPeak = 254;
constexpr double kCenterSlack = 0.05;

// Where ink is in a picture of side x side bytes, how strong it is at most, and its centre of mass, pixel
// centres being at + 0.5.
struct Form {
  Box box;
  int peak = 0;
  double center_x = 0;
  double center_y = 0;
};

template <std::size_t side>
Form form_of(const std::array<std::uint8_t, side * side>& ink) {
  // Sums of rows and columns say everything, and the compiler adds them up side by side.
  std::array<std::uint16_t, side> columns = {};
  std::array<std::uint16_t, side> rows = {};
  std::uint8_t peak = 0;
  for (std::size_t y = 0; y < side; ++y) {
    for (std::size_t x = 0; x < side; ++x) {
      const std::uint8_t value = ink[y * side + x];
      columns[x] = static_cast<std::uint16_t>(columns[x] + value);
      rows[y] = static_cast<std::uint16_t>(rows[y] + value);
      peak = std::max(peak, value);
    }
  }
  Form form;
  form.peak = peak;
  if (peak == 0) return form;
  double sum = 0;
  double moment_x = 0;
  double moment_y = 0;
  form.box = {static_cast<int>(side), static_cast<int>(side), 0, 0};
  for (int i = 0; i < static_cast<int>(side); ++i) {
    const auto at = static_cast<std::size_t>(i);
    sum += columns[at];
    moment_x += columns[at] * (i + 0.5);
    moment_y += rows[at] * (i + 0.5);
    if (columns[at] > 0) {
      form.box.left = std::min(form.box.left, i);
      form.box.right = i + 1;
    }
    if (rows[at] > 0) {
      form.box.top = std::min(form.box.top, i);
      form.box.bottom = i + 1;
    }
  }
  form.center_x = moment_x / sum;
  form.center_y = moment_y / sum;
  return form;
}

// Whether ink from `first` to `last` - 1 with this centre of mass is centred, or as nearly as the frame
// allows.
bool is_centered(double center, int first, int last) {
  if (center <= 14 - kCenterSlack) return last == kInputSide;
  if (center > 15 + kCenterSlack) return first == 0;
  return true;
}

// Whether there are only two shades, which 23 of MNIST's 60,000 pictures for training have.
bool is_bilevel(const Input& input) {
  return std::all_of(input.begin(), input.end(),
                     [](std::uint8_t value) { return value == 0 || value == 255; });
}

bool has_form_of_mnist(const Input& input) {
  const Form form = form_of<kInputSide>(input);
  const int longest = std::max(form.box.width(), form.box.height());
  return form.peak >= kLeastPeak && longest >= kLeastBoxSide && longest <= kBoxSide &&
         is_centered(form.center_x, form.box.left, form.box.right) &&
         is_centered(form.center_y, form.box.top, form.box.bottom);
}

using DigitBox = std::array<std::uint8_t, kBoxSide * kBoxSide>;

// Scales the ink in a box so that its longer side is 20 and its strongest pixel 255.
DigitBox scale_to_box(const GrayImage& coverage, const Box& box) {
  // The box becomes a square by growing on both sides of its shorter direction.
  const int side = std::max(box.width(), box.height());
  const int left = box.left - (side - box.width()) / 2;
  const int top = box.top - (side - box.height()) / 2;
  const GrayImage square = crop(coverage, {left, top, left + side, top + side}, 0);
  const std::vector<std::uint32_t> means =
      area_means(smoothly_enlarged(square, kBoxSide), kBoxSide, kBoxSide);
  const std::uint64_t peak = std::max<std::uint64_t>(*std::max_element(means.begin(), means.end()), 1);
  DigitBox scaled;
  std::transform(means.begin(), means.end(), scaled.begin(), [&](std::uint32_t mean) {
    return static_cast<std::uint8_t>((std::uint64_t{mean} * 255 + peak / 2) / peak);
  });
  return scaled;
}

// How far to move ink whose box is [first, last) so that its centre of mass comes to lie in (14, 15], without
// pushing any over the frame's edge.
int shift_to_center(double center, int first, int last) {
  return std::clamp(static_cast<int>(std::floor(15 - center)), -first, kInputSide - last);
}

Input center(const DigitBox& scaled, const Form& form) {
  const int shift_x = shift_to_center(form.center_x, form.box.left, form.box.right);
  const int shift_y = shift_to_center(form.center_y, form.box.top, form.box.bottom);
  Input input = {};
  for (int y = form.box.top; y < form.box.bottom; ++y) {
    for (int x = form.box.left; x < form.box.right; ++x) {
      input[static_cast<std::size_t>((y + shift_y) * kInputSide + x + shift_x)] =
          scaled[static_cast<std::size_t>(y * kBoxSide + x)];
    }
  }
  return input;
}

// The part of a source box that shows in the scaled picture, whose longer side is less than the source's.
Box visible_part(const Box& box, const Box& visible) {
  const int side = std::max(box.width(), box.height());
  const int left = box.left - (side - box.width()) / 2;
  const int top = box.top - (side - box.height()) / 2;
  const auto from = [&](int start, int scaled) { return start + scaled * side / kBoxSide; };
  const auto to = [&](int start, int scaled) { return start + (scaled * side + kBoxSide - 1) / kBoxSide; };
  Box part = {std::max(box.left, from(left, visible.left)), std::max(box.top, from(top, visible.top)),
              std::min(box.right, to(left, visible.right)), std::min(box.bottom, to(top, visible.bottom))};
  // Whole pixels were kept, which may be all; then one goes on the side that shows less.
  if (part.width() == side) {
    visible.left > kBoxSide - visible.right ? ++part.left : --part.right;
  }
  if (part.height() == side) {
    visible.top > kBoxSide - visible.bottom ? ++part.top : --part.bottom;
  }
  return part;
}

// Whether a thin line runs across a picture of 28x28: the ink is much wider than the box, and thin at both
// ends.
bool has_line_across(const Ink& ink) {
  constexpr int kWidest = 22;  // of a digit alone, enlarged by a tenth
  constexpr int kColumns = 2;
  constexpr int kThinnest = 4;  // so many pixels of ink a column at most
  if (ink.coverage.width != kInputSide || ink.coverage.height != kInputSide) return false;
  if (ink.box.width() <= kWidest) return false;
  const auto is_thin_from = [&](int from) {
    int sum = 0;
    for (int x = from; x < from + kColumns; ++x) {
      for (int y = ink.box.top; y < ink.box.bottom; ++y) sum += ink.coverage.at(x, y);
    }
    return sum <= kColumns * kThinnest * 255;
  };
  return is_thin_from(ink.box.left) && is_thin_from(ink.box.right - kColumns);
}

Input as_input(const GrayImage& picture) {
  Input input;
  std::copy(picture.pixels.begin(), picture.pixels.end(), input.begin());
  return input;
}

Input fit_and_center(const GrayImage& coverage, Box box) {
  while (true) {
    const DigitBox scaled = scale_to_box(coverage, box);
    const Form form = form_of<kBoxSide>(scaled);
    if (std::max(form.box.width(), form.box.height()) >= kLeastBoxSide) return center(scaled, form);
    // Hairs at the ends are too faint to show. The digit is what shows.
    box = visible_part(box, form.box);
  }
}

// The digit in a box of coverage, its strokes filled if only their outline is drawn. Three pixels for one of
// MNIST's are enough to see that.
std::optional<Input> prepare_outline(const GrayImage& coverage, const Box& box) {
  const std::optional<GrayImage> filled = filled_outline(shrink_to(crop(coverage, box, 0), 3 * kBoxSide));
  if (!filled) return std::nullopt;
  return fit_and_center(*filled, {0, 0, filled->width, filled->height});
}

// Returns the input if it has MNIST's form.
std::optional<Input> finished(const Input& input) {
  if (!has_form_of_mnist(input)) return std::nullopt;
  if (is_bilevel(input)) {
    const GrayImage picture{kInputSide, kInputSide, {input.begin(), input.end()}};
    if (const auto outline = prepare_outline(picture, form_of<kInputSide>(input).box)) return outline;
  }
  return input;
}

}  // namespace

Input prepare_digit(const GrayImage& picture) {
  if (picture.width == kInputSide && picture.height == kInputSide) {
    Input input = as_input(picture);
    if (const auto done = finished(input)) return *done;
    for (std::uint8_t& shade : input) shade = static_cast<std::uint8_t>(255 - shade);
    if (const auto done = finished(input)) return *done;
  }
  const std::optional<Ink> ink = find_ink(picture);
  if (!ink) return {};
  // How large the digit under a line is cannot be told; the most likely is that it has MNIST's form.
  if (has_line_across(*ink)) return as_input(ink->coverage);
  if (const auto outline = prepare_outline(ink->coverage, ink->box)) return *outline;
  return fit_and_center(ink->coverage, ink->box);
}

}  // namespace espy::image
