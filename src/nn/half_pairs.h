// Pairs of bfloat16 values, as the instructions that multiply two at once want them side by side. For x86
// alone.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace espy::nn {

#define ESPY_HALF_PAIRS __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"), always_inline)) inline

// Returns the pairs (first[i], second[i]) of 16 values.
ESPY_HALF_PAIRS __m512i pair_up(const std::uint16_t* first, const std::uint16_t* second) {
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second));
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

// Swaps rows and columns of a matrix of 16 x 16 pairs.
ESPY_HALF_PAIRS void transpose(__m512i (&rows)[16]) {
  __m512i mixed[16];
  for (int i = 0; i < 16; i += 2) {
    mixed[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    mixed[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(mixed[i], mixed[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(mixed[i], mixed[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(mixed[i + 1], mixed[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(mixed[i + 1], mixed[i + 3]);
  }
  // Now quarter q of row 4 g + c holds rows 4 g to 4 g + 3 of column 4 q + c.
  for (int c = 0; c < 4; ++c) {
    const __m512i even_top = _mm512_shuffle_i32x4(rows[c], rows[c + 4], 0x88);
    const __m512i odd_top = _mm512_shuffle_i32x4(rows[c], rows[c + 4], 0xdd);
    const __m512i even_bottom = _mm512_shuffle_i32x4(rows[c + 8], rows[c + 12], 0x88);
    const __m512i odd_bottom = _mm512_shuffle_i32x4(rows[c + 8], rows[c + 12], 0xdd);
    mixed[c] = _mm512_shuffle_i32x4(even_top, even_bottom, 0x88);
    mixed[c + 4] = _mm512_shuffle_i32x4(odd_top, odd_bottom, 0x88);
    mixed[c + 8] = _mm512_shuffle_i32x4(even_top, even_bottom, 0xdd);
    mixed[c + 12] = _mm512_shuffle_i32x4(odd_top, odd_bottom, 0xdd);
  }
  for (int i = 0; i < 16; ++i) rows[i] = mixed[i];
}

#undef ESPY_HALF_PAIRS

}  // namespace espy::nn
