#include "image/resample.h"

#include <algorithm>
#include <cstring>
#include <numeric>

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

GrayImage undo_enlargement(const GrayImage& picture) {
  // The greatest common divisor of all places where a row or a column changes. Most pictures end this soon.
  int square = std::gcd(picture.width, picture.height);
  const auto stride = static_cast<std::size_t>(picture.width);
  for (int y = 0; y < picture.height && square > 1; ++y) {
    const std::uint8_t* row = picture.pixels.data() + static_cast<std::size_t>(y) * stride;
    for (int x = 1; x < picture.width && square > 1; ++x) {
      if (row[x] != row[x - 1]) square = std::gcd(square, x);
    }
    if (y > 0 && std::memcmp(row, row - stride, stride) != 0) square = std::gcd(square, y);
  }
  // A picture of one shade says nothing of how it was made.
  if (square <= 1 || square == std::max(picture.width, picture.height)) return picture;
  GrayImage original{picture.width / square, picture.height / square, {}};
  original.pixels.reserve(static_cast<std::size_t>(original.width) *
                          static_cast<std::size_t>(original.height));
  for (int y = 0; y < original.height; ++y) {
    for (int x = 0; x < original.width; ++x) original.pixels.push_back(picture.at(x * square, y * square));
  }
  return original;
}

GrayImage smoothly_enlarged(const GrayImage& picture, int shortest_side) {
  const int shortest = std::min(picture.width, picture.height);
  if (shortest >= shortest_side) return picture;
  const int times = (shortest_side + shortest - 1) / shortest;
  // A new pixel's centre lies between those of two old ones, in each direction.
  struct Place {
    int first;
    int second;
    int share;  // of the second, in 1 / (2 * times)
  };
  const auto place = [&](int at, int length) {
    const int twice = 2 * at + 1 - times;  // in 1 / (2 * times), from the first old centre
    const int first = twice < 0 ? -1 : twice / (2 * times);
    return Place{std::max(first, 0), std::min(first + 1, length - 1), twice - first * 2 * times};
  };
  GrayImage large{picture.width * times, picture.height * times, {}};
  large.pixels.reserve(static_cast<std::size_t>(large.width) * static_cast<std::size_t>(large.height));
  const int whole = 2 * times;
  for (int y = 0; y < large.height; ++y) {
    const Place row = place(y, picture.height);
    for (int x = 0; x < large.width; ++x) {
      const Place column = place(x, picture.width);
      const auto between = [&](int at_row) {
        return picture.at(column.first, at_row) * (whole - column.share) +
               picture.at(column.second, at_row) * column.share;
      };
      const int sum = between(row.first) * (whole - row.share) + between(row.second) * row.share;
      large.pixels.push_back(static_cast<std::uint8_t>((sum + whole * whole / 2) / (whole * whole)));
    }
  }
  return large;
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
