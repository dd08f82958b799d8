#include "image/decode.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/format.h"

namespace espy::image {
namespace {

std::string read(const std::string& name) {
  Result<std::string> bytes = read_file(std::filesystem::path(ESPY_TEST_DATA) / "images" / name, 1 << 20);
  EXPECT_TRUE(bytes) << name;
  return bytes ? *std::move(bytes) : std::string();
}

GrayImage decoded(const std::string& name) {
  Result<GrayImage> image = decode(as_bytes(read(name)));
  EXPECT_TRUE(image) << name << ": " << image.error().message;
  return image ? *std::move(image) : GrayImage{};
}

// What the shades of a picture become when they are stored with fewer bits.
GrayImage with_bits(GrayImage image, int bits) {
  const int most = (1 << bits) - 1;
  for (std::uint8_t& shade : image.pixels) {
    shade = static_cast<std::uint8_t>(((shade >> (8 - bits)) * 255 * 2 + most) / (2 * most));
  }
  return image;
}

GrayImage negative(GrayImage image) {
  for (std::uint8_t& shade : image.pixels) shade = static_cast<std::uint8_t>(255 - shade);
  return image;
}

double mean_difference(const GrayImage& one, const GrayImage& other) {
  EXPECT_EQ(one.width, other.width);
  EXPECT_EQ(one.height, other.height);
  if (one.pixels.size() != other.pixels.size()) return 255;
  double sum = 0;
  for (std::size_t i = 0; i < one.pixels.size(); ++i) sum += std::abs(one.pixels[i] - other.pixels[i]);
  return sum / static_cast<double>(one.pixels.size());
}

void expect_same(const std::string& name, const GrayImage& expected) {
  const GrayImage image = decoded(name);
  EXPECT_EQ(image.width, expected.width) << name;
  EXPECT_EQ(image.height, expected.height) << name;
  EXPECT_EQ(image.pixels, expected.pixels) << name;
}

void expect_failure(const std::string& name, ErrorCode code, const std::string& message) {
  const Result<GrayImage> image = decode(as_bytes(read(name)));
  ASSERT_FALSE(image) << name;
  EXPECT_EQ(image.error().code, code) << name << ": " << image.error().message;
  EXPECT_NE(image.error().message.find(message), std::string::npos) << name << ": " << image.error().message;
}

TEST(DetectFormat, GoesByTheFirstBytes) {
  EXPECT_EQ(*detect_format(as_bytes(read("seven.png"))), Format::png);
  EXPECT_EQ(*detect_format(as_bytes(read("seven.jpg"))), Format::jpeg);
  EXPECT_EQ(*detect_format(as_bytes(read("seven.gif"))), Format::gif);
  EXPECT_EQ(*detect_format(as_bytes(read("seven.bmp"))), Format::bmp);
  EXPECT_EQ(*detect_format(as_bytes(read("seven.webp"))), Format::webp);
}

TEST(DetectFormat, SaysWhatElseItFound) {
  const std::string text = "GIF, but not one";
  const Result<Format> format = detect_format(as_bytes(text));
  ASSERT_FALSE(format);
  EXPECT_EQ(format.error().code, ErrorCode::invalid_input);
  EXPECT_EQ(format.error().message,
            "not a png, jpeg, gif, bmp or webp image: 16 bytes that begin with 47 49 46 2c 20 62 75 74");
}

TEST(Format, HasNamesForFilesAndForHttp) {
  EXPECT_EQ(to_string(Format::jpeg), "jpeg");
  EXPECT_EQ(media_type(Format::jpeg), "image/jpeg");
  EXPECT_EQ(to_string(Format::webp), "webp");
  EXPECT_EQ(media_type(Format::bmp), "image/bmp");
}

TEST(Decode, ReadsRealPixels) {
  const GrayImage seven = decoded("seven.png");
  ASSERT_EQ(seven.width, 28);
  ASSERT_EQ(seven.height, 28);
  EXPECT_EQ(seven.at(0, 0), 0);
  // Row 7 of the first test picture of MNIST, as its idx file has it.
  const std::vector<std::uint8_t> row = {84, 185, 159, 151, 60, 36};
  EXPECT_EQ(std::vector<std::uint8_t>(&seven.pixels[7 * 28 + 6], &seven.pixels[7 * 28 + 12]), row);
}

TEST(Decode, ReadsEveryKindOfLosslessPicture) {
  const GrayImage seven = decoded("seven.png");
  for (const char* name :
       {"seven_16bit_gray.png", "seven_all_filters.png", "seven_palette.png", "seven_rgb.png",
        "seven_interlaced.png", "seven_orientation_6.png", "seven_text_bomb.png", "seven.gif",
        "seven_interlaced.gif", "seven_animated.gif", "seven.bmp", "seven_os2.bmp", "seven_top_down.bmp",
        "seven_24bit.bmp", "seven_32bit.bmp", "seven_rle8.bmp", "seven.webp", "seven_animated.webp",
        "seven_orientation_6.webp"}) {
    expect_same(name, seven);
  }
}

TEST(Decode, WidensFewBits) {
  const GrayImage seven = decoded("seven.png");
  expect_same("seven_1bit_gray.png", with_bits(seven, 1));
  expect_same("seven_2bit_gray.png", with_bits(seven, 2));
  expect_same("seven_4bit_gray.png", with_bits(seven, 4));
  expect_same("seven_palette_4bit.png", with_bits(seven, 4));
  expect_same("seven_1bit.bmp", with_bits(seven, 1));
  expect_same("seven_4bit.bmp", with_bits(seven, 4));
  expect_same("seven_rle4.bmp", with_bits(seven, 4));
  expect_same("seven_16bit.bmp", with_bits(seven, 5));
}

TEST(Decode, LaysTransparencyOverWhite) {
  const GrayImage dark_on_light = negative(decoded("seven.png"));
  for (const char* name :
       {"seven_dark_on_light.png", "seven_gray_alpha.png", "seven_palette_alpha.png", "seven_rgba.png",
        "seven_16bit_rgba.png", "seven_rgba_interlaced.png", "seven_32bit_alpha.bmp", "seven_alpha.webp"}) {
    expect_same(name, dark_on_light);
  }
  GrayImage background_gone = decoded("seven.png");
  for (std::uint8_t& shade : background_gone.pixels) {
    if (shade == 0) shade = 255;
  }
  expect_same("seven_gray_transparent.png", background_gone);
  expect_same("seven_16bit_rgb_transparent.png", background_gone);
  expect_same("seven_transparent.gif", background_gone);
}

TEST(Decode, PutsAFrameWhereItBelongsOnItsCanvas) {
  GrayImage expected = decoded("seven.png");
  for (int y = 0; y < 28; ++y) {
    for (int x = 0; x < 28; ++x) {
      const bool inside = x >= 4 && x < 24 && y >= 4;
      if (!inside) expected.pixels[static_cast<std::size_t>(y * 28 + x)] = 255;
    }
  }
  expect_same("seven_frame_within_canvas.gif", expected);
}

TEST(Decode, WeighsColorsLikeTheEye) {
  const std::vector<std::uint8_t> luma = {76, 150, 29, 255,
                                          18};  // BT.601 of red, green, blue, white, (10,20,30)
  EXPECT_EQ(decoded("colors.png").pixels, luma);
}

TEST(Decode, ReadsFieldsOfUnequalWidth) {
  // 5-6-5 bits: each channel is within half of its own step.
  const GrayImage seven = decoded("seven.png");
  EXPECT_LT(mean_difference(decoded("seven_16bit_fields.bmp"), seven), 2);
}

TEST(Decode, FollowsMovesInARunLengthCodedBitmap) {
  const GrayImage moved = decoded("rle8_move.bmp");
  ASSERT_EQ(moved.width, 8);
  ASSERT_EQ(moved.height, 4);
  // From the bottom: two black, then two right and one up from there another one; all else is white.
  EXPECT_EQ(moved.at(0, 3), 0);
  EXPECT_EQ(moved.at(1, 3), 0);
  EXPECT_EQ(moved.at(2, 3), 255);
  EXPECT_EQ(moved.at(4, 2), 0);
  EXPECT_EQ(moved.at(5, 2), 255);
}

TEST(Decode, ReadsLossyPicturesClosely) {
  const GrayImage seven = decoded("seven.png");
  for (const char* name : {"seven.jpg", "seven_color.jpg", "seven_progressive.jpg", "seven_lossy.webp"}) {
    EXPECT_LT(mean_difference(decoded(name), seven), 3) << name;
  }
  // Ink of all colors where the seven is: dark on light.
  EXPECT_LT(mean_difference(decoded("seven_cmyk.jpg"), negative(seven)), 3);
}

TEST(Decode, TurnsEveryOrientationUpright) {
  const GrayImage seven = decoded("seven.png");
  GrayImage left{24, 28, {}};
  for (int y = 0; y < 28; ++y) {
    for (int x = 0; x < 24; ++x) left.pixels.push_back(seven.at(x, y));
  }
  for (int orientation = 2; orientation <= 8; ++orientation) {
    const std::string name = format("seven_orientation_{}.jpg", orientation);
    EXPECT_LT(mean_difference(decoded(name), left), 3) << name;
  }
}

TEST(Decode, ReadsExtremeShapes) {
  EXPECT_EQ(decoded("one_pixel.png").pixels, std::vector<std::uint8_t>{7});
  const GrayImage tall = decoded("1x10000.png");
  EXPECT_EQ(tall.width, 1);
  EXPECT_EQ(tall.height, 10000);
  EXPECT_EQ(decoded("10000x1.png").width, 10000);
}

TEST(Decode, RefusesWhatIsNoPicture) {
  expect_failure("empty.png", ErrorCode::invalid_input, "image is empty");
  expect_failure("text_renamed.png", ErrorCode::invalid_input, "not a png, jpeg, gif, bmp or webp image");
  expect_failure("text_that_begins_with_bm.bmp", ErrorCode::invalid_input, "not a png");
}

TEST(Decode, RefusesPicturesThatAreCutOff) {
  expect_failure("cut_off.png", ErrorCode::invalid_input, "png is cut off after 166 bytes");
  expect_failure("cut_off.jpg", ErrorCode::invalid_input, "jpeg is cut off after");
  expect_failure("cut_off.gif", ErrorCode::invalid_input, "gif is cut off after");
  expect_failure("cut_off.bmp", ErrorCode::invalid_input, "bmp is cut off after 1241 of 1862 bytes");
  expect_failure("cut_off.webp", ErrorCode::invalid_input, "webp is cut off after");
}

TEST(Decode, RefusesPicturesThatAreBroken) {
  expect_failure("wrong_checksum.png", ErrorCode::invalid_input,
                 "the checksum of the chunk at byte 33 does not fit");
  expect_failure("too_few_rows.png", ErrorCode::invalid_input, "its rows have 406 bytes, must have 812");
  expect_failure("too_many_rows.png", ErrorCode::invalid_input, "its rows have more than 812 bytes");
  expect_failure("unknown_filter.png", ErrorCode::invalid_input, "row 0 has filter 5");
  expect_failure("unknown_depth.png", ErrorCode::invalid_input, "3 bits with color type 0 do not exist");
  expect_failure("no_palette.png", ErrorCode::invalid_input, "its palette has 0 bytes");
  expect_failure("critical_chunk.png", ErrorCode::invalid_input, "the chunk at byte 33 is unknown");
  expect_failure("not_zlib.png", ErrorCode::invalid_input, "its pixels are not a zlib stream");
  expect_failure("end_marker_too_early.jpg", ErrorCode::invalid_input, "premature end of data segment");
  expect_failure("palette_too_small.gif", ErrorCode::invalid_input, "of a palette of 2");
  expect_failure("no_frame.gif", ErrorCode::invalid_input, "gif is broken");
  expect_failure("frame_outside_canvas.gif", ErrorCode::invalid_input,
                 "first frame, 20x24 at 10,4, does not lie in its canvas of 28x28");
  expect_failure("palette_too_small.bmp", ErrorCode::invalid_input,
                 "pixel 1,0 has color 5 of a palette of 2");
  expect_failure("negative_width.bmp", ErrorCode::invalid_input, "its size is -28x28");
  expect_failure("lowest_height.bmp", ErrorCode::invalid_input, "its size is 28x-2147483648");
  expect_failure("no_pixels.bmp", ErrorCode::invalid_input, "image is 0x28, it has no pixels");
  expect_failure("run_longer_than_row.bmp", ErrorCode::invalid_input, "row 0 is longer than 4 pixels");
  expect_failure("move_out_of_picture.bmp", ErrorCode::invalid_input, "it moves to 1,7");
  expect_failure("jpeg_inside.bmp", ErrorCode::invalid_input, "24 bits with compression 4 is not supported");
}

TEST(Decode, RefusesBombsByTheirHeader) {
  for (const char* extension : {"png", "jpg", "gif", "bmp"}) {
    expect_failure(format("bomb_50000x50000.{}", extension), ErrorCode::too_large,
                   "image is 50000x50000, limit is 64000000 pixels");
  }
  expect_failure("bomb_16383x16383.webp", ErrorCode::too_large, "image is 16383x16383");
}

TEST(Decode, RefusesMoreThanItsLimits) {
  const std::string seven = read("seven.png");
  const Result<GrayImage> bytes = decode(as_bytes(seven), {.max_bytes = seven.size() - 1});
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, ErrorCode::too_large);
  EXPECT_EQ(bytes.error().message, format("image has {} bytes, limit is {}", seven.size(), seven.size() - 1));
  const Result<GrayImage> pixels = decode(as_bytes(seven), {.max_pixels = 783});
  ASSERT_FALSE(pixels);
  EXPECT_EQ(pixels.error().code, ErrorCode::too_large);
  EXPECT_EQ(pixels.error().message, "image is 28x28, limit is 783 pixels");
  EXPECT_TRUE(decode(as_bytes(seven), {.max_bytes = seven.size(), .max_pixels = 784}));
  const std::string deep = read("seven_16bit_rgba.png");
  EXPECT_EQ(decode(as_bytes(deep), {.max_pixels = 1567}).error().message,
            "image is 28x28 of 64 bits a pixel, limit is 1567 pixels of 32");
  EXPECT_TRUE(decode(as_bytes(deep), {.max_pixels = 1568}));
}

// A picture that is not all there must fail or, when only what follows the pixels is missing, be the same:
// never a picture with a part missing.
TEST(Decode, ShowsNoPartOfAPictureAtAnyCut) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(ESPY_TEST_DATA) + "/images")) {
    const std::string name = entry.path().filename();
    const std::string bytes = read(name);
    const Result<GrayImage> whole = bytes.empty() ? Result<GrayImage>(GrayImage{}) : decode(as_bytes(bytes));
    if (!whole) continue;
    ++files;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      // A copy of its own, so that a read beyond it is seen by the address sanitizer.
      const std::vector<char> part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      const Result<GrayImage> image = decode(std::as_bytes(std::span(part)));
      if (image) {
        EXPECT_EQ(image->pixels, whole->pixels) << name << " cut off after " << size;
      } else {
        EXPECT_EQ(image.error().code, ErrorCode::invalid_input) << name << " cut off after " << size;
      }
    }
  }
  EXPECT_GT(files, 50);
}

}  // namespace
}  // namespace espy::image
