// Fashion-MNIST's own preparation, from any picture of a garment.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "image/ink.h"
#include "image/preparations.h"
#include "image/resample.h"

namespace espy::image {
namespace {

// A shade this close to the corners' is background: 5 % of the greatest distance, step 2 of the paper.
constexpr int kBackgroundReach = 13;

// The paper's originals are thumbnails of 51x73. A larger picture is first shrunk to such a size, so that the
// subsampling after it skips as many rows and columns as theirs did.
constexpr int kThumbnailSide = 73;

// A row or column belongs to the garment when at least this share of it does, which leaves dust out.
constexpr int kShareOfGarment = 64;

// The background's shade: the middle of the four corners. Of Fashion-MNIST's 60,000 training pictures, all
// with a dark background, none has a light one by this measure.
int corner_shade(const GrayImage& picture) {
  const int right = picture.width - 1;
  const int bottom = picture.height - 1;
  std::array<int, 4> corners = {picture.at(0, 0), picture.at(right, 0), picture.at(0, bottom),
                                picture.at(right, bottom)};
  std::sort(corners.begin(), corners.end());
  return (corners[1] + corners[2]) / 2;
}

bool is_background_light(const GrayImage& picture) { return corner_shade(picture) > 127; }

void negate(GrayImage& picture) {
  for (std::uint8_t& shade : picture.pixels) shade = static_cast<std::uint8_t>(255 - shade);
}

// Whether there is too little contrast to show anything.
bool is_uniform(const GrayImage& picture) {
  std::uint8_t least = 255;
  std::uint8_t most = 0;
  for (const std::uint8_t shade : picture.pixels) {
    least = std::min(least, shade);
    most = std::max(most, shade);
  }
  return most - least < kLeastContrast;
}

// The background in light that is not quite even: between the means of four patches in the corners, or of one
// shade where they are too far apart to show one background.
class Background {
 public:
  explicit Background(const GrayImage& picture)
      : right_(std::max(picture.width - 1, 1)), bottom_(std::max(picture.height - 1, 1)) {
    constexpr int kPatchesAlong = 16;
    constexpr int kFurthestApart = 64;
    const int side = std::max(1, std::min(picture.width, picture.height) / kPatchesAlong);
    const auto mean = [&](int left, int top) {
      int sum = 0;
      for (int y = top; y < top + side; ++y) {
        for (int x = left; x < left + side; ++x) sum += picture.at(x, y);
      }
      return (sum + side * side / 2) / (side * side);
    };
    corners_ = {mean(0, 0), mean(picture.width - side, 0), mean(0, picture.height - side),
                mean(picture.width - side, picture.height - side)};
    const auto [least, most] = std::minmax_element(corners_.begin(), corners_.end());
    if (*most - *least > kFurthestApart) corners_.fill(corner_shade(picture));
  }

  int at(int x, int y) const {
    const int above = corners_[0] * (right_ - x) + corners_[1] * x;
    const int below = corners_[2] * (right_ - x) + corners_[3] * x;
    return (above * (bottom_ - y) + below * y) / (right_ * bottom_);
  }

 private:
  int right_;
  int bottom_;
  std::array<int, 4> corners_;
};

// How far from the background's shade background may be: as far as nineteen of twenty pixels along the edges
// are, and half of that more, within limits.
int background_reach(const GrayImage& picture, const Background& background) {
  constexpr int kMost = 3 * kBackgroundReach;
  std::vector<int> distances;
  const auto add = [&](int x, int y) {
    distances.push_back(std::abs(picture.at(x, y) - background.at(x, y)));
  };
  for (int x = 0; x < picture.width; ++x) add(x, 0), add(x, picture.height - 1);
  for (int y = 0; y < picture.height; ++y) add(0, y), add(picture.width - 1, y);
  const auto place = distances.begin() + static_cast<std::ptrdiff_t>(distances.size() * 19 / 20);
  std::nth_element(distances.begin(), place, distances.end());
  const int reach = *place * 3 / 2;
  // A garment that touches the edges says nothing of the background.
  return reach > kMost ? kBackgroundReach : std::max(reach, kBackgroundReach);
}

// Makes the background 0 and stretches what is lighter; what is darker than the background cannot be shown.
void clear_background(GrayImage& picture) {
  const Background background(picture);
  const int reach = background_reach(picture, background);
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      std::uint8_t& shade =
          picture.pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) +
                         static_cast<std::size_t>(x)];
      const int plain = background.at(x, y);
      const int difference = shade - plain;
      shade = static_cast<std::uint8_t>(difference <= reach ? 0 : difference * 255 / (255 - plain));
    }
  }
}

Box garment_box(const GrayImage& picture) {
  std::vector<int> rows(static_cast<std::size_t>(picture.height));
  std::vector<int> columns(static_cast<std::size_t>(picture.width));
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const int shown = picture.at(x, y) > 0 ? 1 : 0;
      rows[static_cast<std::size_t>(y)] += shown;
      columns[static_cast<std::size_t>(x)] += shown;
    }
  }
  const auto extent = [](const std::vector<int>& counts, int across) {
    const auto shows = [&](int count) { return count > across / kShareOfGarment; };
    const auto first = std::find_if(counts.begin(), counts.end(), shows);
    const auto last = std::find_if(counts.rbegin(), counts.rend(), shows);
    return std::pair(static_cast<int>(first - counts.begin()),
                     static_cast<int>(last.base() - counts.begin()));
  };
  const auto [top, bottom] = extent(rows, picture.width);
  const auto [left, right] = extent(columns, picture.height);
  return {left, top, right, bottom};
}

// Takes every n-th row and column, n being as large as the longer side needs to become `longest`.
GrayImage subsample(const GrayImage& picture, int longest) {
  const int side = std::max(picture.width, picture.height);
  const auto scaled = [&](int length) { return std::max(1, (length * longest + side / 2) / side); };
  GrayImage sampled{scaled(picture.width), scaled(picture.height), {}};
  for (int y = 0; y < sampled.height; ++y) {
    for (int x = 0; x < sampled.width; ++x) {
      sampled.pixels.push_back(picture.at((2 * x + 1) * picture.width / (2 * sampled.width),
                                          (2 * y + 1) * picture.height / (2 * sampled.height)));
    }
  }
  return sampled;
}

// ImageMagick's "sharpen" with radius and sigma 1, the paper's step 4: twice the sum G of a 3x3 Gaussian in
// the middle minus the Gaussian around it, normalised.
GrayImage sharpen(const GrayImage& picture) {
  constexpr double kSide = 0.60653066;    // exp(-1/2)
  constexpr double kCorner = 0.36787944;  // exp(-1)
  constexpr double kSum = 1 + 4 * kSide + 4 * kCorner;
  const auto at = [&](int x, int y) {
    return picture.at(std::clamp(x, 0, picture.width - 1), std::clamp(y, 0, picture.height - 1));
  };
  GrayImage sharp{picture.width, picture.height, {}};
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const int sides = at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1);
      const int corners = at(x - 1, y - 1) + at(x + 1, y - 1) + at(x - 1, y + 1) + at(x + 1, y + 1);
      const double value = (2 * kSum * at(x, y) - kSide * sides - kCorner * corners) / (kSum + 1);
      sharp.pixels.push_back(static_cast<std::uint8_t>(std::clamp(value + 0.5, 0.0, 255.0)));
    }
  }
  return sharp;
}

GrayImage fit(const GrayImage& garment, int longest) {
  const GrayImage sharp = sharpen(subsample(garment, longest));
  const int left = (kInputSide - sharp.width) / 2;
  const int top = (kInputSide - sharp.height) / 2;
  return crop(sharp, {-left, -top, kInputSide - left, kInputSide - top}, 0);
}

}  // namespace

Input prepare_garment(const GrayImage& picture) {
  const bool is_finished = picture.width == kInputSide && picture.height == kInputSide;
  // Twice the thumbnail: the garment may fill only half of the picture.
  GrayImage garment = shrink_to(picture, 2 * kThumbnailSide);
  if (is_uniform(garment)) return {};
  if (is_background_light(garment)) negate(garment);
  if (!is_finished) {
    clear_background(garment);
    const Box box = garment_box(garment);
    if (box.is_empty()) return {};
    const GrayImage trimmed = shrink_to(crop(garment, box, 0), kThumbnailSide);
    garment = fit(trimmed, kInputSide);
    // A garment that fills the corners would pass for a light background; a margin keeps it what it is.
    if (is_background_light(garment)) garment = fit(trimmed, kInputSide - 2);
    if (is_uniform(garment)) return {};
  }
  Input input;
  std::copy(garment.pixels.begin(), garment.pixels.end(), input.begin());
  return input;
}

}  // namespace espy::image
