#include "image/ink.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <vector>

namespace espy::image {
namespace {

// Detail beyond this does not change 20x20 pixels of digit, and costs time.
constexpr int kLongestSide = 512;

// Light that varies less than this many shades around the border needs no flattening.
constexpr int kEvenLight = 6;

// The border is paper of one shade when 80 % of it lies within this share of the picture's contrast.
constexpr double kEvenBorder = 0.35;

// The grid on which light is estimated, and how far the closing reaches: strokes up to (2 * 5 + 1) / 32 = 34
// % of the longer side are bridged. Measured: with a reach of 3, thick digits that fill their picture lose
// what is broad in them.
constexpr int kCellsAlong = 32;
constexpr int kClosingReach = 5;

// Median absolute deviation to standard deviation of a normal distribution, times three of the latter.
constexpr double kNoiseReach = 3 * 1.4826;

// What is less than this share of the largest component is dirt. Measured on digits under impulse noise,
// crossed by dotted lines and written on paper: 8 to 12 do equally well, 16 keeps dots and noise.
constexpr int kSpeckOfLargest = 10;

// The ink reaches as far as pixels of which it covers at least half. Measured on MNIST, enlarged tenfold and
// brought back: the mean difference of a pixel is 3.4 (nearest neighbour) and 7.1 (bilinear) of 255; with a
// box around every pixel that has any ink 2.7 and 8.3.
constexpr int kHalfCovered = 128;

// Ink that spans this share of the shorter side is enough to do without what touches the border.
constexpr int kShareOfDigit = 8;

// What shows at two facing sides of the picture, but for the deepest hundredth, is not ink, as long as
// nothing at the border is more than three quarters as deep as the deepest 0.2 % of the picture.
constexpr double kShareOfSide = 0.99;
constexpr double kRulingOfInk = 0.75;
constexpr double kShareOfDeepest = 0.002;

using Histogram = std::array<std::int64_t, 256>;

std::size_t index(int x, int y, int width) {
  return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x);
}

Histogram histogram_of(const std::vector<std::uint8_t>& shades) {
  // Paper is the same shade again and again; four counters in turn do not wait for each other.
  std::array<Histogram, 4> parts = {};
  for (std::size_t i = 0; i < shades.size(); ++i) ++parts[i % 4][shades[i]];
  Histogram histogram;
  for (std::size_t shade = 0; shade < 256; ++shade) {
    histogram[shade] = parts[0][shade] + parts[1][shade] + parts[2][shade] + parts[3][shade];
  }
  return histogram;
}

// The least shade that at least this share of the pixels does not exceed.
int percentile(const Histogram& histogram, double share) {
  const std::int64_t count = std::accumulate(histogram.begin(), histogram.end(), std::int64_t{0});
  const auto wanted = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(count)));
  std::int64_t seen = 0;
  for (int shade = 0; shade < 256; ++shade) {
    seen += histogram[static_cast<std::size_t>(shade)];
    if (seen >= std::max<std::int64_t>(wanted, 1)) return shade;
  }
  return 255;
}

// Calls visit(x, y) for the pixels around the edge, a band as thick as 1/32 of the shorter side.
template <typename Visit>
void visit_border(int width, int height, Visit visit) {
  const int thick = std::max(1, std::min(width, height) / 32);
  for (int y = 0; y < height; ++y) {
    if (y < thick || y >= height - thick) {
      for (int x = 0; x < width; ++x) visit(x, y);
    } else {
      for (int x = 0; x < std::min(thick, width); ++x) visit(x, y);
      for (int x = std::max(thick, width - thick); x < width; ++x) visit(x, y);
    }
  }
}

Histogram border_histogram(const GrayImage& picture) {
  Histogram histogram = {};
  visit_border(picture.width, picture.height, [&](int x, int y) { ++histogram[picture.at(x, y)]; });
  return histogram;
}

void negate(GrayImage& picture) {
  for (std::uint8_t& shade : picture.pixels) shade = static_cast<std::uint8_t>(255 - shade);
}

// A coarse picture: one value per square cell.
struct Grid {
  int cell = 1;
  int width = 0;
  int height = 0;
  std::vector<float> values;

  float at(int x, int y) const { return values[index(x, y, width)]; }
};

Grid cell_means(const GrayImage& picture) {
  const int cell = (std::max(picture.width, picture.height) + kCellsAlong - 1) / kCellsAlong;
  Grid grid{cell, (picture.width + cell - 1) / cell, (picture.height + cell - 1) / cell, {}};
  for (int cell_y = 0; cell_y < grid.height; ++cell_y) {
    for (int cell_x = 0; cell_x < grid.width; ++cell_x) {
      const int right = std::min((cell_x + 1) * cell, picture.width);
      const int bottom = std::min((cell_y + 1) * cell, picture.height);
      std::int64_t sum = 0;
      for (int y = cell_y * cell; y < bottom; ++y) {
        for (int x = cell_x * cell; x < right; ++x) sum += picture.at(x, y);
      }
      const int pixels = (right - cell_x * cell) * (bottom - cell_y * cell);
      grid.values.push_back(static_cast<float>(sum) / static_cast<float>(pixels));
    }
  }
  return grid;
}

// Replaces every cell by what combine() makes of the cells at most `reach` away, in x and then in y.
template <typename Combine>
Grid spread(const Grid& grid, int reach, Combine combine) {
  Grid between = grid;
  for (int y = 0; y < grid.height; ++y) {
    const float* from = grid.values.data() + index(0, y, grid.width);
    float* to = between.values.data() + index(0, y, grid.width);
    for (int step = 1; step <= std::min(reach, grid.width - 1); ++step) {
      for (int x = 0; x < grid.width - step; ++x) to[x] = combine(to[x], from[x + step]);
      for (int x = step; x < grid.width; ++x) to[x] = combine(to[x], from[x - step]);
    }
  }
  Grid result = between;
  for (int y = 0; y < grid.height; ++y) {
    float* to = result.values.data() + index(0, y, grid.width);
    for (int near = std::max(0, y - reach); near <= std::min(grid.height - 1, y + reach); ++near) {
      if (near == y) continue;
      const float* from = between.values.data() + index(0, near, grid.width);
      for (int x = 0; x < grid.width; ++x) to[x] = combine(to[x], from[x]);
    }
  }
  return result;
}

Grid local_least(const Grid& grid, int reach) {
  return spread(grid, reach, [](float a, float b) { return b < a ? b : a; });
}

Grid local_most(const Grid& grid, int reach) {
  return spread(grid, reach, [](float a, float b) { return a < b ? b : a; });
}

Grid local_means(const Grid& grid, int reach) {
  Grid means = spread(grid, reach, [](float a, float b) { return a + b; });
  const auto near = [reach](int at, int length) {
    return std::min(at + reach, length - 1) - std::max(at - reach, 0) + 1;
  };
  for (int y = 0; y < grid.height; ++y) {
    for (int x = 0; x < grid.width; ++x) {
      means.values[index(x, y, grid.width)] /= static_cast<float>(near(x, grid.width) * near(y, grid.height));
    }
  }
  return means;
}

// Between which two cells' middles a pixel lies, and how near to the second.
struct Between {
  std::size_t first;
  std::size_t second;
  float share;
};

std::vector<Between> positions(int pixels, int cell, int cells) {
  std::vector<Between> found;
  found.reserve(static_cast<std::size_t>(pixels));
  for (int pixel = 0; pixel < pixels; ++pixel) {
    const float at = std::clamp((static_cast<float>(pixel) + 0.5F) / static_cast<float>(cell) - 0.5F, 0.0F,
                                static_cast<float>(cells - 1));
    const int first = static_cast<int>(at);
    found.push_back({static_cast<std::size_t>(first),
                     static_cast<std::size_t>(std::min(first + 1, cells - 1)),
                     at - static_cast<float>(first)});
  }
  return found;
}

// Between the cells' middles values change evenly. Calls visit(pixel index, value) for every pixel.
template <typename Visit>
void visit_smooth(const Grid& grid, int width, int height, Visit visit) {
  const std::vector<Between> columns = positions(width, grid.cell, grid.width);
  const std::vector<Between> rows = positions(height, grid.cell, grid.height);
  const auto stride = static_cast<std::size_t>(grid.width);
  std::vector<float> line(stride);
  std::size_t pixel = 0;
  for (const Between& row : rows) {
    for (std::size_t x = 0; x < stride; ++x) {
      const float above = grid.values[row.first * stride + x];
      line[x] = above + (grid.values[row.second * stride + x] - above) * row.share;
    }
    for (const Between& column : columns) {
      const float before = line[column.first];
      visit(pixel++, before + (line[column.second] - before) * column.share);
    }
  }
}

// How deep ruled lines are, if there are any: they reach two sides of the picture that face each other, which
// a digit seldom does.
int depth_at_facing_sides(const GrayImage& depth, double share) {
  const int thick = std::max(1, std::min(depth.width, depth.height) / 32);
  const auto side = [&](const Box& box) {
    return percentile(histogram_of(crop(depth, box, 0).pixels), share);
  };
  const int left = side({0, 0, thick, depth.height});
  const int right = side({depth.width - thick, 0, depth.width, depth.height});
  const int top = side({0, 0, depth.width, thick});
  const int bottom = side({0, depth.height - thick, depth.width, depth.height});
  return std::max(std::min(left, right), std::min(top, bottom));
}

// Whether what is written is lighter than what it is written on.
bool is_ink_light(const GrayImage& picture, const Histogram& shades, const Histogram& border) {
  const int contrast = percentile(shades, 0.99) - percentile(shades, 0.01);
  const int border_spread = percentile(border, 0.9) - percentile(border, 0.1);
  if (border_spread <= kEvenBorder * contrast) {
    // The border is paper, and the ink is where the rest differs from it.
    const int paper = percentile(border, 0.5);
    std::int64_t lighter = 0;
    for (int shade = 0; shade < 256; ++shade)
      lighter += (shade - paper) * shades[static_cast<std::size_t>(shade)];
    return lighter > 0;
  }
  // Of a border in uneven light no shade is the paper's. But ink is the smaller part of its surroundings, so
  // the differences from the local mean have their long tail on the ink's side: the sign of their third
  // moment.
  const Grid light = local_means(cell_means(picture), kClosingReach);
  double third_moment = 0;
  visit_smooth(light, picture.width, picture.height, [&](std::size_t i, float mean) {
    const double difference = static_cast<double>(picture.pixels[i]) - static_cast<double>(mean);
    third_moment += difference * difference * difference;
  });
  return third_moment > 0;
}

// Replaces every pixel of dark ink by how much darker it is than the paper there, 255 being black.
void to_depth_below(GrayImage& picture, int paper) {
  std::array<std::uint8_t, 256> depth = {};
  for (int shade = 0; shade < paper; ++shade) {
    depth[static_cast<std::size_t>(shade)] =
        static_cast<std::uint8_t>(((paper - shade) * 255 + paper / 2) / paper);
  }
  for (std::uint8_t& shade : picture.pixels) shade = depth[shade];
}

// Takes out pixels that are black or white by chance, from a small picture where there are many of them. In a
// larger one they vanish when it is scaled.
void remove_impulse_noise(GrayImage& picture, int contrast) {
  constexpr int kLongest = 64;
  // Of 1,000 digits in MNIST's form none has so many lonely pixels (1 %), under 17 % of noise all have.
  constexpr int kShareOfLonely = 100;
  // A pixel in a stroke of two has at least three like it. Measured errors under the noise: 3.0 % with 1, 2.3
  // % with 2, 3.5 % with 3.
  constexpr int kMostAlike = 2;
  constexpr int kRounds = 2;
  const int width = picture.width;
  const int height = picture.height;
  if (std::max(width, height) > kLongest) return;
  // How many of the eight pixels around one are like it; outside nothing is.
  const auto count_alike = [&](int x, int y) {
    int alike = 0;
    for (int near_y = std::max(0, y - 1); near_y <= std::min(height - 1, y + 1); ++near_y) {
      for (int near_x = std::max(0, x - 1); near_x <= std::min(width - 1, x + 1); ++near_x) {
        alike += 2 * std::abs(picture.at(near_x, near_y) - picture.at(x, y)) < contrast ? 1 : 0;
      }
    }
    return alike - 1;
  };
  // The same as no pixel alike, but it looks no further than at the first; hardly any pixel is lonely.
  const auto is_lonely = [&](int x, int y) {
    for (int near_y = std::max(0, y - 1); near_y <= std::min(height - 1, y + 1); ++near_y) {
      for (int near_x = std::max(0, x - 1); near_x <= std::min(width - 1, x + 1); ++near_x) {
        const bool is_itself = near_x == x && near_y == y;
        if (!is_itself && 2 * std::abs(picture.at(near_x, near_y) - picture.at(x, y)) < contrast)
          return false;
      }
    }
    return true;
  };
  const auto median_around = [&](int x, int y) {
    std::array<std::uint8_t, 9> near;
    std::size_t count = 0;
    for (int near_y = std::max(0, y - 1); near_y <= std::min(height - 1, y + 1); ++near_y) {
      for (int near_x = std::max(0, x - 1); near_x <= std::min(width - 1, x + 1); ++near_x) {
        near[count++] = picture.at(near_x, near_y);
      }
    }
    std::sort(near.begin(), near.begin() + static_cast<std::ptrdiff_t>(count));
    return near[count / 2];
  };
  int lonely = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) lonely += is_lonely(x, y) ? 1 : 0;
  }
  if (lonely * kShareOfLonely < width * height) return;
  for (int round = 0; round < kRounds; ++round) {
    GrayImage cleaned = picture;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        if (count_alike(x, y) <= kMostAlike) cleaned.pixels[index(x, y, width)] = median_around(x, y);
      }
    }
    picture = std::move(cleaned);
  }
}

enum class Light { multiplies, adds };

// The same where the paper's shade is not the same everywhere. Light on paper multiplies, so the ratio
// counts; what makes a dark ground lighter, as haze does, is added to ink and ground alike, so the difference
// counts.
void to_depth_below(GrayImage& picture, const Grid& paper, Light light) {
  visit_smooth(paper, picture.width, picture.height, [&](std::size_t i, float shade) {
    const auto here = static_cast<float>(picture.pixels[i]);
    const float depth =
        light == Light::multiplies ? 255.0F - 255.0F * here / std::max(shade, 1.0F) : shade - here;
    picture.pixels[i] = static_cast<std::uint8_t>(std::clamp(depth + 0.5F, 0.0F, 255.0F));
  });
}

// The shade of each column of paper that lies in three bands from top to bottom, both outer ones having one
// shade and the middle another: a strip of paper on a table, or a light between two shadows. Empty where the
// picture is not like that. The outer bands must fill the outermost columns, and both edges must be straight
// from top to bottom but for the ink that crosses them; a digit that fills its picture has no such edges.
std::vector<std::uint8_t> shades_of_bands(const GrayImage& picture, int contrast) {
  constexpr int kNarrowest = 7;  // a band has at least this fraction of the width
  constexpr int kAlike = 5;      // shades of one band differ by less than this fraction of the contrast
  const int width = picture.width;
  const int height = picture.height;
  const int bottom = height - 1;
  if (width < 3 * kNarrowest || height < 3 * kNarrowest) return {};
  const int alike = contrast / kAlike;
  const auto differs = [&](int a, int b) { return std::abs(a - b) > alike; };
  // At the top edge: where the shade changes.
  const int outer = picture.at(0, 0);
  int left = 1;
  while (left < width && !differs(picture.at(left, 0), outer)) ++left;
  int right = width;
  while (right > left && !differs(picture.at(right - 1, 0), outer)) --right;
  const int narrowest = width / kNarrowest;
  if (left < narrowest || width - right < narrowest || right - left < narrowest) return {};
  const int middle = picture.at((left + right) / 2, 0);
  std::vector<std::uint8_t> shades(static_cast<std::size_t>(width));
  for (int x = 0; x < width; ++x) {
    const int shade = x < left || x >= right ? outer : middle;
    if (differs(picture.at(x, 0), shade) || differs(picture.at(x, bottom), shade)) return {};
    shades[static_cast<std::size_t>(x)] = static_cast<std::uint8_t>(shade);
  }
  int straight = 0;
  for (int y = 0; y < height; ++y) {
    if (differs(picture.at(0, y), outer) || differs(picture.at(width - 1, y), outer)) return {};
    straight += differs(picture.at(left - 1, y), picture.at(left, y)) ? 1 : 0;
    straight += differs(picture.at(right - 1, y), picture.at(right, y)) ? 1 : 0;
  }
  if (straight < 2 * height * 3 / 4) return {};
  return shades;
}

// Whether ink is lighter or darker than the paper does not matter here: it may be both.
void to_distance_from(GrayImage& picture, const std::vector<std::uint8_t>& shades_of_columns) {
  for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
    const int shade = shades_of_columns[i % shades_of_columns.size()];
    picture.pixels[i] = static_cast<std::uint8_t>(std::abs(picture.pixels[i] - shade));
  }
}

// Replaces every pixel by how far it is from its paper, 255 being the furthest there can be.
void to_depth(GrayImage& picture, const Histogram& shades) {
  const int contrast = percentile(shades, 0.99) - percentile(shades, 0.01);
  remove_impulse_noise(picture, contrast);
  const std::vector<std::uint8_t> bands = shades_of_bands(picture, contrast);
  if (!bands.empty()) return to_distance_from(picture, bands);

  const bool is_light = is_ink_light(picture, shades, border_histogram(picture));
  if (is_light) negate(picture);
  const Histogram border = border_histogram(picture);
  if (percentile(border, 0.9) - percentile(border, 0.1) <= kEvenLight) {
    return to_depth_below(picture, percentile(border, 0.5));
  }
  // A closing (darkness shrinks, then grows) leaves the paper alone and fills what is thinner than its reach.
  const Grid closed = local_least(local_most(cell_means(picture), kClosingReach), kClosingReach);
  to_depth_below(picture, local_means(closed, 1), is_light ? Light::adds : Light::multiplies);
}

// Otsu's threshold: the least shade of the upper class, when the variance between two classes is greatest.
int otsu_threshold(const Histogram& histogram) {
  double total = 0;
  double sum = 0;
  for (std::size_t shade = 0; shade < 256; ++shade) {
    total += static_cast<double>(histogram[shade]);
    sum += static_cast<double>(shade) * static_cast<double>(histogram[shade]);
  }
  double below = 0;
  double sum_below = 0;
  double best = -1;
  int threshold = 1;
  for (std::size_t shade = 0; shade < 255; ++shade) {
    below += static_cast<double>(histogram[shade]);
    sum_below += static_cast<double>(shade) * static_cast<double>(histogram[shade]);
    if (below == 0 || below == total) continue;
    const double distance = sum_below / below - (sum - sum_below) / (total - below);
    const double between = below * (total - below) * distance * distance;
    if (between > best) {
      best = between;
      threshold = static_cast<int>(shade) + 1;
    }
  }
  return threshold;
}

Histogram without_below(Histogram histogram, int shade) {
  const auto end = histogram.begin() + shade;
  histogram[0] = std::accumulate(histogram.begin(), end, std::int64_t{0});
  std::fill(histogram.begin() + 1, end, std::int64_t{0});
  return histogram;
}

double mean_shade(const Histogram& histogram, int from, int to) {
  double count = 0;
  double sum = 0;
  for (int shade = from; shade < to; ++shade) {
    const auto pixels = static_cast<double>(histogram[static_cast<std::size_t>(shade)]);
    count += pixels;
    sum += shade * pixels;
  }
  return count == 0 ? 0 : sum / count;
}

struct Component {
  std::size_t first = 0;  // its pixels, in Components::pixels
  std::size_t last = 0;
  Box box;
  bool touches_border = false;

  std::size_t size() const { return last - first; }
  int longest_side() const { return std::max(box.width(), box.height()); }
};

struct Components {
  std::vector<std::size_t> pixels;
  std::vector<Component> all;
};

// The connected sets (eight neighbours) of pixels of at least `weak` that have one of at least `strong`.
Components find_components(const GrayImage& depth, int weak, int strong) {
  // What is still to be found, in a frame of nothing, so that every pixel has eight neighbours.
  const auto stride = static_cast<std::size_t>(depth.width) + 2;
  std::vector<std::uint8_t> open(stride * (static_cast<std::size_t>(depth.height) + 2));
  for (int y = 0; y < depth.height; ++y) {
    const std::uint8_t* from = depth.pixels.data() + index(0, y, depth.width);
    std::uint8_t* to = open.data() + (static_cast<std::size_t>(y) + 1) * stride + 1;
    for (int x = 0; x < depth.width; ++x) to[x] = from[x] >= weak ? 1 : 0;
  }
  // Wrapping subtraction is what a step up or left is.
  const std::array<std::size_t, 8> steps = {0 - stride - 1, 0 - stride, 0 - stride + 1, std::size_t{0} - 1, 1,
                                            stride - 1,     stride,     stride + 1};
  Components found;
  for (int seed_y = 0; seed_y < depth.height; ++seed_y) {
    for (int seed_x = 0; seed_x < depth.width; ++seed_x) {
      const std::size_t seed =
          (static_cast<std::size_t>(seed_y) + 1) * stride + static_cast<std::size_t>(seed_x) + 1;
      if (depth.at(seed_x, seed_y) < strong || open[seed] == 0) continue;
      Component component;
      component.first = found.pixels.size();
      open[seed] = 0;
      found.pixels.push_back(seed);
      // The list of pixels is the queue too.
      for (std::size_t next = component.first; next < found.pixels.size(); ++next) {
        const std::size_t at = found.pixels[next];
        for (const std::size_t step : steps) {
          if (open[at + step] == 0) continue;
          open[at + step] = 0;
          found.pixels.push_back(at + step);
        }
      }
      component.last = found.pixels.size();
      component.box = {depth.width, depth.height, 0, 0};
      for (std::size_t i = component.first; i < component.last; ++i) {
        const int x = static_cast<int>(found.pixels[i] % stride) - 1;
        const int y = static_cast<int>(found.pixels[i] / stride) - 1;
        component.box.include(x, y);
        found.pixels[i] = index(x, y, depth.width);
      }
      component.touches_border = component.box.left == 0 || component.box.top == 0 ||
                                 component.box.right == depth.width || component.box.bottom == depth.height;
      found.all.push_back(component);
    }
  }
  return found;
}

// Takes away what is not part of the writing.
void drop_dirt(std::vector<Component>& components, int width, int height) {
  std::size_t largest = 0;
  for (const Component& component : components) largest = std::max(largest, component.size());
  std::erase_if(components,
                [&](const Component& component) { return component.size() * kSpeckOfLargest < largest; });

  const int digit = std::max(1, std::min(width, height) / kShareOfDigit);
  const bool enough = std::any_of(components.begin(), components.end(), [&](const Component& component) {
    return !component.touches_border && component.longest_side() >= digit;
  });
  if (enough) std::erase_if(components, [](const Component& component) { return component.touches_border; });
}

// The median of |shade - middle| in a histogram.
int median_deviation(const Histogram& histogram, int middle) {
  Histogram deviations = {};
  for (int shade = 0; shade < 256; ++shade) {
    deviations[static_cast<std::size_t>(std::abs(shade - middle))] +=
        histogram[static_cast<std::size_t>(shade)];
  }
  return percentile(deviations, 0.5);
}

}  // namespace

std::optional<Ink> find_ink(const GrayImage& picture) {
  GrayImage depth = shrink_to(picture, kLongestSide);
  const Histogram shades = histogram_of(depth.pixels);
  if (percentile(shades, 1) - percentile(shades, 0) < kLeastContrast) return std::nullopt;

  to_depth(depth, shades);

  const Histogram depths = histogram_of(depth.pixels);
  const Histogram border = border_histogram(depth);
  const double noise = kNoiseReach * median_deviation(border, percentile(border, 0.5));
  int strong = otsu_threshold(depths);
  if (mean_shade(depths, strong, 256) - mean_shade(depths, 0, strong) <
      std::max<double>(kLeastContrast, noise)) {
    return std::nullopt;
  }
  constexpr double kFaintest = 4;
  int weak = std::max(1, static_cast<int>(std::min(strong / 2.0, std::max(kFaintest, noise))));
  const int ruling = depth_at_facing_sides(depth, kShareOfSide);
  if (ruling > noise &&
      percentile(border, kShareOfSide) < kRulingOfInk * percentile(depths, 1 - kShareOfDeepest)) {
    weak = ruling + 1;
    strong = std::max({strong, weak, otsu_threshold(without_below(depths, weak))});
  }

  Components components = find_components(depth, weak, strong);
  drop_dirt(components.all, depth.width, depth.height);
  if (components.all.empty()) return std::nullopt;

  // Half of the ink is at least as deep as its median: that is a pixel covered whole.
  Histogram strong_depths = {};
  for (const Component& component : components.all) {
    for (std::size_t i = component.first; i < component.last; ++i) {
      const std::uint8_t value = depth.pixels[components.pixels[i]];
      if (value >= strong) ++strong_depths[value];
    }
  }
  const int full = percentile(strong_depths, 0.5);

  Ink ink;
  ink.coverage = {depth.width, depth.height, std::vector<std::uint8_t>(depth.pixels.size())};
  ink.box = {depth.width, depth.height, 0, 0};
  for (const Component& component : components.all) {
    for (std::size_t i = component.first; i < component.last; ++i) {
      const std::size_t at = components.pixels[i];
      const int covered = std::min(255, (depth.pixels[at] * 255 + full / 2) / full);
      ink.coverage.pixels[at] = static_cast<std::uint8_t>(covered);
      if (covered < kHalfCovered) continue;
      ink.box.include(static_cast<int>(at) % depth.width, static_cast<int>(at) / depth.width);
    }
  }
  return ink;
}

}  // namespace espy::image
