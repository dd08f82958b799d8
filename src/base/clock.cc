#include "base/clock.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>

namespace espy {
namespace {

// Takes exactly `digits` decimal digits off the front of text; returns -1 if they are not there.
int take_number(std::string_view& text, size_t digits) {
  if (text.size() < digits) return -1;
  int value = 0;
  for (const char c : text.substr(0, digits)) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return value;
}

// Appends the number behind as many zeros as it takes to have that many digits.
void append_number(std::string& text, std::int64_t number, std::size_t digits) {
  std::array<char, 20> written;
  const char* const end = std::to_chars(written.data(), written.data() + written.size(), number).ptr;
  const auto size = static_cast<std::size_t>(end - written.data());
  if (size < digits) text.append(digits - size, '0');
  text.append(written.data(), size);
}

bool take(std::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

Clock system_clock() {
  return [] {
    return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
  };
}

std::string to_string(Timestamp time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  // By hand: each answer has one, and format() takes eight times as long.
  std::string text;
  text.reserve(27);
  if (date.year() < std::chrono::year(0)) text += '-';
  append_number(text, std::abs(static_cast<int>(date.year())), 4);
  text += '-';
  append_number(text, static_cast<unsigned>(date.month()), 2);
  text += '-';
  append_number(text, static_cast<unsigned>(date.day()), 2);
  text += 'T';
  append_number(text, clock.hours().count(), 2);
  text += ':';
  append_number(text, clock.minutes().count(), 2);
  text += ':';
  append_number(text, clock.seconds().count(), 2);
  text += '.';
  append_number(text, clock.subseconds().count(), 6);
  text += 'Z';
  return text;
}

std::optional<Timestamp> parse_timestamp(std::string_view text) {
  const int year = take_number(text, 4);
  if (year < 0 || !take(text, '-')) return std::nullopt;
  const int month = take_number(text, 2);
  if (month < 0 || !take(text, '-')) return std::nullopt;
  const int day = take_number(text, 2);
  if (day < 0) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!date.ok()) return std::nullopt;
  Timestamp time = std::chrono::sys_days(date);
  if (text.empty()) return time;

  if (!take(text, 'T')) return std::nullopt;
  const int hour = take_number(text, 2);
  if (hour < 0 || hour > 23 || !take(text, ':')) return std::nullopt;
  const int minute = take_number(text, 2);
  if (minute < 0 || minute > 59) return std::nullopt;
  time += std::chrono::hours(hour) + std::chrono::minutes(minute);
  if (take(text, ':')) {
    const int second = take_number(text, 2);
    if (second < 0 || second > 59) return std::nullopt;
    time += std::chrono::seconds(second);
    if (take(text, '.')) {
      int microseconds = 0;
      int digits = 0;
      while (!text.empty() && text.front() != 'Z') {
        const int digit = take_number(text, 1);
        if (digit < 0 || digits == 6) return std::nullopt;
        microseconds = microseconds * 10 + digit;
        ++digits;
      }
      if (digits == 0) return std::nullopt;
      for (; digits < 6; ++digits) microseconds *= 10;
      time += std::chrono::microseconds(microseconds);
    }
  }
  if (!take(text, 'Z') || !text.empty()) return std::nullopt;
  return time;
}

}  // namespace espy
