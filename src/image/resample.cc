#include "image/resample.h"

#include <algorithm>
#include <cstring>

namespace espy::image {
namespace {

// A row of `size` pixels is laid over `parts` equal parts. Measured in 1 / (size * parts) of the row, pixel i
// is [i * parts, (i + 1) * parts) and part j is [j * size, (j + 1) * size): overlaps are whole numbers.
struct Overlaps {
  std::int64_t size;
  std::int64_t parts;

  std::int64_t first(std::int64_t part) const { return part * size / parts; }
  std::int64_t last(std::int64_t part) const { return ((part + 1) * size - 1) / parts; }
  std::int64_t of(std::int64_t pixel, std::int64_t part) const {
    return std::min((pixel + 1) * parts, (part + 1) * size) - std::max(pixel * parts, part * size);
  }
};

// Adds up rows before columns: the long inner loop then runs over neighbouring bytes. A sum of one column
// reaches 255 * picture height, which Sum must hold.
template <typename Sum>
std::vector<std::uint32_t> means(const GrayImage& picture, int width, int height) {
  const Overlaps rows{picture.height, height};
  const Overlaps columns{picture.width, width};
  const std::uint64_t whole = picture.pixels.size();
  std::vector<Sum> sums(static_cast<std::size_t>(picture.width));
  std::vector<std::uint32_t> result;
  result.reserve(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), Sum{0});
    for (std::int64_t from = rows.first(y); from <= rows.last(y); ++from) {
      const auto weight = static_cast<Sum>(rows.of(from, y));
      const std::uint8_t* row =
          picture.pixels.data() + static_cast<std::size_t>(from) * static_cast<std::size_t>(picture.width);
      for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += weight * row[x];
    }
    for (int x = 0; x < width; ++x) {
      const std::int64_t first = columns.first(x);
      const std::int64_t last = columns.last(x);
      // All pixels between the first and the last are covered whole.
      std::uint64_t between = 0;
      for (std::int64_t from = first + 1; from < last; ++from)
        between += sums[static_cast<std::size_t>(from)];
      std::uint64_t sum =
          between * static_cast<std::uint64_t>(width) +
          static_cast<std::uint64_t>(columns.of(first, x)) * sums[static_cast<std::size_t>(first)];
      if (last > first) {
        sum += static_cast<std::uint64_t>(columns.of(last, x)) * sums[static_cast<std::size_t>(last)];
      }
      result.push_back(static_cast<std::uint32_t>((sum * 256 + whole / 2) / whole));
    }
  }
  return result;
}

}  // namespace

std::vector<std::uint32_t> area_means(const GrayImage& picture, int width, int height) {
  constexpr int kHighestFor32Bits = 1 << 24;
  return picture.height < kHighestFor32Bits ? means<std::uint32_t>(picture, width, height)
                                            : means<std::uint64_t>(picture, width, height);
}

GrayImage area_resize(const GrayImage& picture, int width, int height) {
  if (width == picture.width && height == picture.height) return picture;
  const std::vector<std::uint32_t> fine = area_means(picture, width, height);
  GrayImage resized{width, height, std::vector<std::uint8_t>(fine.size())};
  std::transform(fine.begin(), fine.end(), resized.pixels.begin(),
                 [](std::uint32_t mean) { return static_cast<std::uint8_t>((mean + 128) / 256); });
  return resized;
}

GrayImage shrink_to(const GrayImage& picture, int longest_side) {
  const std::int64_t longest = std::max(picture.width, picture.height);
  if (longest <= longest_side) return picture;
  const auto scaled = [&](int side) {
    return static_cast<int>(
        std::max<std::int64_t>(1, (std::int64_t{side} * longest_side + longest / 2) / longest));
  };
  return area_resize(picture, scaled(picture.width), scaled(picture.height));
}

GrayImage crop(const GrayImage& picture, const Box& box, std::uint8_t outside) {
  GrayImage cut{box.width(), box.height(), {}};
  cut.pixels.assign(static_cast<std::size_t>(cut.width) * static_cast<std::size_t>(cut.height), outside);
  const int left = std::max(box.left, 0);
  const int right = std::min(box.right, picture.width);
  if (left >= right) return cut;
  for (int y = std::max(box.top, 0); y < std::min(box.bottom, picture.height); ++y) {
    std::memcpy(
        cut.pixels.data() + static_cast<std::size_t>(y - box.top) * static_cast<std::size_t>(cut.width) +
            static_cast<std::size_t>(left - box.left),
        picture.pixels.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) +
            static_cast<std::size_t>(left),
        static_cast<std::size_t>(right - left));
  }
  return cut;
}

}  // namespace espy::image
