#include "image/prepare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include "base/file.h"
#include "image/decode.h"

namespace espy::image {
namespace {

constexpr Preparation kAll[] = {Preparation::digit, Preparation::garment, Preparation::plain};
constexpr const char* kDigits[] = {"zero.png", "one.png", "two.png",   "three.png", "four.png",
                                   "five.png", "six.png", "seven.png", "eight.png", "nine.png"};
constexpr const char* kGarments[] = {"ankle_boot.png", "bag.png", "dress.png", "pullover.png", "trouser.png"};

GrayImage load(const std::string& name) {
  Result<std::string> bytes = read_file(std::filesystem::path(ESPY_TEST_DATA) / "images" / name, 1 << 20);
  EXPECT_TRUE(bytes) << name;
  Result<GrayImage> picture = decode(as_bytes(*bytes));
  EXPECT_TRUE(picture) << name;
  return *std::move(picture);
}

GrayImage negative(GrayImage picture) {
  for (std::uint8_t& shade : picture.pixels) shade = static_cast<std::uint8_t>(255 - shade);
  return picture;
}

GrayImage uniform(int width, int height, std::uint8_t shade) {
  return {width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height), shade)};
}

// A picture that is `times` as large, on a canvas with a margin of the corner's shade.
GrayImage enlarged(const GrayImage& picture, int times, int left, int top, int right, int bottom) {
  GrayImage large =
      uniform(picture.width * times + left + right, picture.height * times + top + bottom, picture.at(0, 0));
  for (int y = 0; y < picture.height * times; ++y) {
    for (int x = 0; x < picture.width * times; ++x) {
      large.pixels[static_cast<std::size_t>((y + top) * large.width + x + left)] =
          picture.at(x / times, y / times);
    }
  }
  return large;
}

GrayImage as_picture(const Input& input) { return {kInputSide, kInputSide, {input.begin(), input.end()}}; }

double mean_difference(const Input& input, const GrayImage& picture) {
  double sum = 0;
  for (std::size_t i = 0; i < input.size(); ++i) sum += std::abs(input[i] - picture.pixels[i]);
  return sum / static_cast<double>(input.size());
}

// Share of what is expected to be ink that is ink, and the other way around, at the best shift by one pixel:
// where a digit's centre of mass is on the edge between two pixels, noise decides.
double overlap(const Input& input, const GrayImage& expected) {
  double best = 0;
  for (int dy = -1; dy <= 1; ++dy) {
    for (int dx = -1; dx <= 1; ++dx) {
      double both = 0;
      double either = 0;
      for (int y = 1; y < kInputSide - 1; ++y) {
        for (int x = 1; x < kInputSide - 1; ++x) {
          const double a = input[static_cast<std::size_t>((y + dy) * kInputSide + x + dx)];
          const double b = expected.at(x, y);
          both += std::min(a, b);
          either += std::max(a, b);
        }
      }
      best = std::max(best, both / either);
    }
  }
  return best;
}

// Draws what has ink depth 1 where inside() says so.
template <typename Inside>
GrayImage drawing(int width, int height, double paper, double ink, Inside inside) {
  GrayImage picture = uniform(width, height, static_cast<std::uint8_t>(paper));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      if (inside(x, y))
        picture.pixels[static_cast<std::size_t>(y * width + x)] = static_cast<std::uint8_t>(ink);
    }
  }
  return picture;
}

struct Measure {
  int left = 28, top = 28, right = 0, bottom = 0, peak = 0;
  double center_x = 0, center_y = 0;
};

Measure measure(const Input& input) {
  Measure found;
  double sum = 0;
  for (int y = 0; y < kInputSide; ++y) {
    for (int x = 0; x < kInputSide; ++x) {
      const int value = input[static_cast<std::size_t>(y * kInputSide + x)];
      if (value == 0) continue;
      found.left = std::min(found.left, x);
      found.right = std::max(found.right, x + 1);
      found.top = std::min(found.top, y);
      found.bottom = std::max(found.bottom, y + 1);
      found.peak = std::max(found.peak, value);
      sum += value;
      found.center_x += value * (x + 0.5);
      found.center_y += value * (y + 0.5);
    }
  }
  found.center_x /= sum;
  found.center_y /= sum;
  return found;
}

TEST(Preparation, HasNames) {
  for (const Preparation preparation : kAll)
    EXPECT_EQ(parse_preparation(to_string(preparation)), preparation);
  EXPECT_EQ(to_string(Preparation::garment), "garment");
  EXPECT_EQ(parse_preparation("Digit"), std::nullopt);
}

TEST(PrepareDigit, LeavesPicturesOfMnistAlone) {
  for (const char* name : kDigits) {
    const GrayImage digit = load(name);
    EXPECT_EQ(as_picture(prepare(digit, Preparation::digit)).pixels, digit.pixels) << name;
  }
}

TEST(PrepareDigit, NegatesPicturesOfMnistThatAreDarkOnLight) {
  for (const char* name : kDigits) {
    const GrayImage digit = load(name);
    EXPECT_EQ(as_picture(prepare(negative(digit), Preparation::digit)).pixels, digit.pixels) << name;
  }
}

TEST(PrepareDigit, FindsADigitWhereverItIsAndHoweverLarge) {
  for (const char* name : kDigits) {
    const GrayImage digit = load(name);
    for (const GrayImage& same : {digit, negative(digit)}) {
      EXPECT_GT(overlap(prepare(enlarged(same, 10, 0, 0, 0, 0), Preparation::digit), digit), 0.7) << name;
      EXPECT_GT(overlap(prepare(enlarged(same, 7, 90, 5, 20, 150), Preparation::digit), digit), 0.7) << name;
      EXPECT_GT(overlap(prepare(enlarged(same, 30, 0, 40, 0, 0), Preparation::digit), digit), 0.7) << name;
    }
  }
}

TEST(PrepareDigit, GivesEveryPictureTheFormOfMnist) {
  // A bar far off centre, thin and slanted.
  const GrayImage bar = drawing(
      300, 200, 230, 40, [](int x, int y) { return y > 20 && y < 180 && std::abs(x - 40 - y / 4) < 6; });
  const Measure form = measure(prepare(bar, Preparation::digit));
  EXPECT_EQ(form.peak, 255);
  EXPECT_EQ(form.bottom - form.top, 20);
  EXPECT_LT(form.right - form.left, 12);
  EXPECT_GT(form.center_x, 14);
  EXPECT_LE(form.center_x, 15);
  EXPECT_GT(form.center_y, 14);
  EXPECT_LE(form.center_y, 15);
}

TEST(PrepareDigit, KeepsTheAspectRatio) {
  const GrayImage wide =
      drawing(200, 200, 255, 0, [](int x, int y) { return x >= 20 && x < 180 && y >= 60 && y < 108; });
  const Measure form = measure(prepare(wide, Preparation::digit));
  EXPECT_EQ(form.right - form.left, 20);
  EXPECT_EQ(form.bottom - form.top, 6);
}

TEST(PrepareDigit, ReadsAPhotographInUnevenLight) {
  const GrayImage seven = load("seven.png");
  EXPECT_GT(overlap(prepare(load("seven_photograph.jpg"), Preparation::digit), seven), 0.7);
  // The same chalk on a blackboard.
  EXPECT_GT(overlap(prepare(negative(load("seven_photograph.jpg")), Preparation::digit), seven), 0.7);
}

TEST(PrepareDigit, SeesInkThroughASteepGradient) {
  // The paper's dark side is darker than the ink on its light side, so no one threshold can tell them apart.
  GrayImage ring = uniform(400, 300, 0);
  GrayImage even = uniform(400, 300, 0);
  for (int y = 0; y < 300; ++y) {
    for (int x = 0; x < 400; ++x) {
      const bool ink = std::abs(std::hypot(x - 200.0, y - 150.0) - 90) < 12;
      const auto at = static_cast<std::size_t>(y * 400 + x);
      ring.pixels[at] = static_cast<std::uint8_t>((60 + 0.45 * x) * (ink ? 0.3 : 1));
      even.pixels[at] = ink ? 0 : 255;
    }
  }
  const Input expected = prepare(even, Preparation::digit);
  EXPECT_GT(overlap(prepare(ring, Preparation::digit), as_picture(expected)), 0.9);
}

TEST(PrepareDigit, IgnoresSpecksAndWhatHangsInFromTheEdge) {
  const auto is_bar = [](int x, int y) { return std::abs(x - 150) < 15 && y >= 60 && y < 240; };
  const Input bar = prepare(drawing(300, 300, 250, 10, is_bar), Preparation::digit);
  const Input with_speck =
      prepare(drawing(300, 300, 250, 10,
                      [&](int x, int y) { return is_bar(x, y) || (x >= 20 && x < 26 && y >= 20 && y < 26); }),
              Preparation::digit);
  EXPECT_EQ(with_speck, bar);
  const Input with_edge = prepare(
      drawing(300, 300, 250, 10, [&](int x, int y) { return is_bar(x, y) || y < 30; }), Preparation::digit);
  EXPECT_EQ(with_edge, bar);
}

TEST(PrepareDigit, KeepsInkThatTouchesTheEdgeWhenThereIsNoOther) {
  const Input touching =
      prepare(drawing(300, 300, 250, 10, [](int x, int y) { return std::abs(x - 150) < 15 && y < 240; }),
              Preparation::digit);
  EXPECT_EQ(measure(touching).bottom - measure(touching).top, 20);
}

TEST(PrepareDigit, KeepsTheSeparateStrokeOfADigit) {
  const auto stem = [](int x, int y) { return std::abs(x - 120) < 12 && y >= 60 && y < 240; };
  const auto hat = [](int x, int y) { return x >= 150 && x < 220 && y >= 60 && y < 84; };
  const Measure both = measure(prepare(
      drawing(300, 300, 255, 0, [&](int x, int y) { return stem(x, y) || hat(x, y); }), Preparation::digit));
  EXPECT_GT(both.right - both.left, 9);
}

TEST(PrepareDigit, TakesBackAnEnlargement) {
  for (const char* name : kDigits) {
    const GrayImage digit = load(name);
    for (const int times : {2, 10}) {
      const Input input = prepare(enlarged(digit, times, 0, 0, 0, 0), Preparation::digit);
      EXPECT_EQ(as_picture(input).pixels, digit.pixels) << name << " " << times;
    }
  }
}

TEST(PrepareDigit, EnlargesATinyPictureSmoothly) {
  // A slanted line of full pixels; enlarged in squares it would be stairs of black and white.
  const GrayImage line = drawing(8, 8, 0, 255, [](int x, int y) { return x == y; });
  const Input input = prepare(line, Preparation::digit);
  EXPECT_GT(std::count_if(input.begin(), input.end(), [](int value) { return value > 30 && value < 225; }),
            40);
}

TEST(PrepareDigit, SeesASmallDigitInHaze) {
  for (const char* name : kDigits) {
    const GrayImage digit = load(name);
    GrayImage hazy = digit;
    for (int y = 0; y < hazy.height; ++y) {
      for (int x = 0; x < hazy.width; ++x) {
        std::uint8_t& shade = hazy.pixels[static_cast<std::size_t>(y * hazy.width + x)];
        shade = static_cast<std::uint8_t>(shade / 4 + 20 + 3 * x + 2 * y);
      }
    }
    EXPECT_GT(overlap(prepare(hazy, Preparation::digit), digit), 0.75) << name;
  }
}

TEST(PrepareDigit, TellsThreeBandsOfPaperApart) {
  for (const char* name : kDigits) {
    const GrayImage digit = load(name);
    GrayImage striped = digit;
    for (std::size_t i = 0; i < striped.pixels.size(); ++i) {
      if (i % 28 < 7 || i % 28 >= 21) striped.pixels[i] = static_cast<std::uint8_t>(255 - striped.pixels[i]);
    }
    EXPECT_GT(overlap(prepare(striped, Preparation::digit), digit), 0.9) << name;
  }
}

TEST(PrepareDigit, CleansImpulseNoise) {
  std::mt19937 random(3);
  double cleaned_overlap = 0;
  double noisy_overlap = 0;
  for (const char* name : kDigits) {
    const GrayImage digit = load(name);
    GrayImage noisy = digit;
    for (std::uint8_t& shade : noisy.pixels) {
      if (random() % 6 == 0) shade = random() % 2 == 0 ? 0 : 255;
    }
    const double cleaned = overlap(prepare(noisy, Preparation::digit), digit);
    EXPECT_GT(cleaned, 0.6) << name;
    cleaned_overlap += cleaned;
    noisy_overlap += overlap(prepare(noisy, Preparation::plain), digit);
  }
  EXPECT_GT(cleaned_overlap, 1.1 * noisy_overlap);
}

TEST(PrepareDigit, IgnoresRuledLines) {
  const auto is_ring = [](int x, int y) { return std::abs(std::hypot(x - 150.0, y - 140.0) - 60) < 9; };
  GrayImage ruled = drawing(300, 300, 240, 30, is_ring);
  for (int y = 0; y < 300; ++y) {
    for (int x = 0; x < 300; ++x) {
      const bool rule = y % 50 < 3 || x % 50 < 3;
      if (rule && !is_ring(x, y)) ruled.pixels[static_cast<std::size_t>(y * 300 + x)] = 190;
    }
  }
  const Input ring = prepare(drawing(300, 300, 240, 30, is_ring), Preparation::digit);
  EXPECT_GT(overlap(prepare(ruled, Preparation::digit), as_picture(ring)), 0.9);
}

TEST(PrepareDigit, FillsTheStrokesOfAnOutline) {
  // A seven of strokes 12 wide, and the same with lines of 3 around them alone.
  const auto is_stroke = [](int x, int y, int wider) {
    const bool bar = x >= 20 - wider && x < 80 + wider && y >= 10 - wider && y < 22 + wider;
    const bool stem = x >= 68 - wider && x < 80 + wider && y >= 10 - wider && y < 100 + wider;
    return bar || stem;
  };
  const GrayImage solid = drawing(100, 110, 255, 0, [&](int x, int y) { return is_stroke(x, y, 0); });
  const GrayImage outline =
      drawing(100, 110, 255, 0, [&](int x, int y) { return is_stroke(x, y, 1) && !is_stroke(x, y, -2); });
  const GrayImage expected = as_picture(prepare(solid, Preparation::digit));
  EXPECT_GT(overlap(prepare(outline, Preparation::digit), expected), 0.75);
}

TEST(PrepareDigit, DoesNotFillTheLoopsOfAThinPen) {
  const auto is_eight = [](int x, int y) {
    return std::abs(std::hypot(x - 100.0, y - 60.0) - 36) < 3 ||
           std::abs(std::hypot(x - 100.0, y - 132.0) - 36) < 3;
  };
  const Input eight = prepare(drawing(200, 200, 255, 0, is_eight), Preparation::digit);
  EXPECT_EQ(eight[9 * 28 + 14], 0);
  EXPECT_EQ(eight[18 * 28 + 14], 0);
}

TEST(PrepareDigit, LeavesTheScaleOfMnistWhereALineRunsAcross) {
  for (const char* name : {"one.png", "seven.png", "three.png"}) {
    GrayImage crossed = load(name);
    for (std::size_t x = 2; x < 26; ++x) {
      for (const std::size_t y : {12U, 13U}) crossed.pixels[y * 28 + x] = 255;
    }
    EXPECT_LT(mean_difference(prepare(crossed, Preparation::digit), crossed), 3) << name;
  }
}

TEST(PrepareGarment, TakesBackAnEnlargement) {
  const GrayImage boot = load("ankle_boot.png");
  EXPECT_EQ(as_picture(prepare(enlarged(boot, 5, 0, 0, 0, 0), Preparation::garment)).pixels, boot.pixels);
}

TEST(PrepareGarment, LeavesPicturesOfFashionMnistAlone) {
  for (const char* name : kGarments) {
    const GrayImage garment = load(name);
    EXPECT_EQ(as_picture(prepare(garment, Preparation::garment)).pixels, garment.pixels) << name;
    EXPECT_EQ(as_picture(prepare(negative(garment), Preparation::garment)).pixels, garment.pixels) << name;
  }
}

TEST(PrepareGarment, TrimsFitsAndNegatesALargerPicture) {
  const GrayImage boot = load("ankle_boot.png");
  const Input large = prepare(load("ankle_boot_large_dark_on_light.png"), Preparation::garment);
  EXPECT_LT(mean_difference(large, boot), 25);
  const Measure form = measure(large);
  EXPECT_EQ(std::max(form.right - form.left, form.bottom - form.top), 28);
}

TEST(PrepareGarment, CentresTheShorterSide) {
  const GrayImage tall =
      drawing(200, 200, 245, 90, [](int x, int y) { return x >= 20 && x < 60 && y >= 20 && y < 160; });
  const Input input = prepare(tall, Preparation::garment);
  const Measure form = measure(input);
  EXPECT_EQ(form.bottom - form.top, 28);
  EXPECT_EQ(form.right - form.left, 8);
  EXPECT_EQ(form.left, 10);
  EXPECT_EQ(input[0], 0);
}

TEST(PrepareGarment, TrimsInUnevenLight) {
  const auto is_garment = [](int x, int y) { return x >= 60 && x < 120 && y >= 40 && y < 160; };
  GrayImage shaded = drawing(200, 200, 0, 80, is_garment);
  for (int y = 0; y < 200; ++y) {
    for (int x = 0; x < 200; ++x) {
      if (!is_garment(x, y))
        shaded.pixels[static_cast<std::size_t>(y * 200 + x)] = static_cast<std::uint8_t>(250 - x / 5);
    }
  }
  const Measure form = measure(prepare(shaded, Preparation::garment));
  EXPECT_EQ(form.bottom - form.top, 28);
  EXPECT_EQ(form.right - form.left, 14);
}

TEST(PrepareGarment, KeepsAGarmentThatFillsItsCorners) {
  const GrayImage square =
      drawing(200, 200, 10, 240, [](int x, int y) { return x >= 20 && x < 180 && y >= 20 && y < 180; });
  const Input input = prepare(square, Preparation::garment);
  EXPECT_EQ(input[0], 0);
  EXPECT_GT(input[14 * 28 + 14], 200);
}

TEST(PreparePlain, AveragesAreas) {
  GrayImage checkered = uniform(56, 28, 0);
  for (std::size_t i = 0; i < checkered.pixels.size(); i += 2) checkered.pixels[i] = 200;
  const Input input = prepare(checkered, Preparation::plain);
  EXPECT_TRUE(std::all_of(input.begin(), input.end(), [](std::uint8_t value) { return value == 100; }));
  const GrayImage seven = load("seven.png");
  EXPECT_EQ(as_picture(prepare(seven, Preparation::plain)).pixels, seven.pixels);
  EXPECT_EQ(as_picture(prepare(enlarged(seven, 3, 0, 0, 0, 0), Preparation::plain)).pixels, seven.pixels);
}

TEST(PreparePlain, SpreadsASmallPictureOverAll) {
  const GrayImage two{2, 1, {0, 255}};
  const Input input = prepare(two, Preparation::plain);
  EXPECT_EQ(input[13], 0);
  EXPECT_EQ(input[14], 255);
  EXPECT_EQ(input[27 * 28 + 13], 0);
}

TEST(Prepare, ShowsNothingWhereThereIsNoInk) {
  std::mt19937 random(1);
  for (const auto& [width, height] : {std::pair(1, 1), {28, 28}, {1, 10000}, {10000, 1}, {640, 480}}) {
    for (const int shade : {0, 128, 245}) {
      GrayImage paper = uniform(width, height, static_cast<std::uint8_t>(shade));
      EXPECT_TRUE(is_blank(prepare(paper, Preparation::digit))) << width << "x" << height << " " << shade;
      EXPECT_TRUE(is_blank(prepare(paper, Preparation::garment))) << width << "x" << height << " " << shade;
      for (std::uint8_t& pixel : paper.pixels) pixel = static_cast<std::uint8_t>(pixel + random() % 10);
      EXPECT_TRUE(is_blank(prepare(paper, Preparation::digit)))
          << width << "x" << height << " noisy " << shade;
      EXPECT_TRUE(is_blank(prepare(paper, Preparation::garment)))
          << width << "x" << height << " noisy " << shade;
    }
  }
  EXPECT_FALSE(is_blank(prepare(load("seven.png"), Preparation::digit)));
}

TEST(Prepare, SeesNoInkInAnEmptyPageUnderALamp) {
  std::mt19937 random(1);
  std::normal_distribution<double> noise(0, 3);
  GrayImage page = uniform(640, 480, 0);
  for (int y = 0; y < 480; ++y) {
    for (int x = 0; x < 640; ++x) {
      page.pixels[static_cast<std::size_t>(y * 640 + x)] =
          static_cast<std::uint8_t>(std::clamp(110 + 0.15 * x + 0.05 * y + noise(random), 0.0, 255.0));
    }
  }
  EXPECT_TRUE(is_blank(prepare(page, Preparation::digit)));
}

TEST(Prepare, ChangesNothingTheSecondTime) {
  std::mt19937 random(7);
  const auto expect_stable = [](const GrayImage& picture) {
    for (const Preparation preparation : kAll) {
      const Input once = prepare(picture, preparation);
      EXPECT_EQ(prepare(as_picture(once), preparation), once)
          << to_string(preparation) << " of " << picture.width << "x" << picture.height;
    }
  };
  for (int i = 0; i < 400; ++i) {
    const int width = 1 + static_cast<int>(random() % 70);
    const int height = 1 + static_cast<int>(random() % 70);
    GrayImage picture = uniform(width, height, static_cast<std::uint8_t>(random()));
    const unsigned one_in = 1 + static_cast<unsigned>(random() % 60);
    for (std::uint8_t& shade : picture.pixels) {
      if (random() % one_in == 0) shade = static_cast<std::uint8_t>(random());
    }
    expect_stable(picture);
  }
  for (const char* name : {"seven_photograph.jpg", "ankle_boot_large_dark_on_light.png", "seven.jpg",
                           "seven_cmyk.jpg", "1x10000.png", "one_pixel.png"}) {
    expect_stable(load(name));
  }
}

}  // namespace
}  // namespace espy::image
