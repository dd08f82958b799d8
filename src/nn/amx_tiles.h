// AMX's registers. For x86 alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>

#include <immintrin.h>

namespace espy::nn {

// A processor with AMX has these.
#define ESPY_AMX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

// The tiles of the calling thread while it lives: eight of 16 rows of 64 bytes (Intel 64 manual, volume 1,
// chapter 18). has_amx() holds.
class Tiles {
 public:
  ESPY_AMX Tiles() {
    Configuration configuration;
    std::fill(std::begin(configuration.row_bytes), std::begin(configuration.row_bytes) + 8, 64);
    std::fill(std::begin(configuration.rows), std::begin(configuration.rows) + 8, 16);
    // GCC 12's _tile_loadconfig tells the compiler that the first eight bytes are read, and no more.
    asm volatile("ldtilecfg %0" : : "m"(configuration));
  }
  ESPY_AMX ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  struct alignas(64) Configuration {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  };
};

}  // namespace espy::nn
