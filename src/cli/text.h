// Text as people read it: numbers, shares, durations, and tables of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace espy::cli {

// Returns "a, b, c" for the separator ", ".
std::string join(std::span<const std::string> parts, std::string_view separator);

// Returns 60000 as "60,000".
std::string grouped(std::uint64_t number);

// Returns 0.99121 as "99.12 %".
std::string percent(double share, int decimals = 2);

// Returns a figure for JSON: the seven digits of a float are more than any figure of ours carries.
inline float json_figure(double figure) { return static_cast<float>(figure); }

// Returns "0:07", "12:03" or "1:02:33".
std::string to_clock_text(std::chrono::duration<double> duration);

// Returns 407123 as "407 kB".
std::string to_size_text(std::uint64_t bytes);

// Returns foreign text so that a terminal shows it and does not obey it: control characters, and bytes that
// are not UTF-8, become \x1b and the like.
std::string printable(std::string_view text);

// Returns how many columns a terminal needs for UTF-8 text, at one a character.
std::size_t display_width(std::string_view text);

// Breaks text at spaces into lines of at most `width` columns; a longer word keeps its own line. A line break
// in the text stays one.
std::vector<std::string> wrap(std::string_view text, std::size_t width);

// How close two words are: the number of letters to add, remove or change (Levenshtein 1966).
std::size_t edit_distance(std::string_view a, std::string_view b);

// Returns one line a field: the name, and the value in a column of its own, made printable.
std::string field_list(std::span<const std::pair<std::string, std::string>> fields);

enum class Align { left, right };

// Rows of text under a heading, in aligned columns with two spaces between.
class Table {
 public:
  struct Column {
    std::string heading;
    Align align = Align::left;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // `cells` are as many as the columns.
  void add(std::vector<std::string> cells);

  // Returns one line a row, each with its line break and without spaces at its end.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace espy::cli
