// The loops of normalize.h, to be included once for each set of instructions that they are compiled for:
//   ESPY_KERNELS      the namespace that they are put into
//   ESPY_KERNEL       attributes of the functions of normalize.h
//   ESPY_KERNEL_PART  attributes of what is inlined into them; it must be, or it would be compiled for the
//   oldest
//                     machine alone
//   ESPY_AVX512_BF16  defined where these instructions may be used; then the activations' channels are
//   multiples of
//                     16
// It has no guard, and its includer includes what it needs.

namespace espy::nn::ESPY_KERNELS {

// A vector of `kWidth` channels of one pixel. GCC and Clang compile its arithmetic to the widest registers of
// each version; nothing of it crosses a function that is not inlined.
template <int kWidth>
struct VectorOf;
template <>
struct VectorOf<16> {
  using Float = float __attribute__((vector_size(64)));
  using Bits = std::uint32_t __attribute__((vector_size(64)));
  using Half = std::uint16_t __attribute__((vector_size(32)));
};
template <>
struct VectorOf<8> {
  using Float = float __attribute__((vector_size(32)));
  using Bits = std::uint32_t __attribute__((vector_size(32)));
  using Half = std::uint16_t __attribute__((vector_size(16)));
};
template <>
struct VectorOf<1> {
  using Float = float;
  using Bits = std::uint32_t;
  using Half = std::uint16_t;
};

template <typename To, typename From>
ESPY_KERNEL_PART inline To same_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

template <typename To, typename From>
ESPY_KERNEL_PART inline To convert(const From& from) {
  if constexpr (std::is_arithmetic_v<From>) {
    return static_cast<To>(from);
  } else {
    return __builtin_convertvector(from, To);
  }
}

template <int kWidth, typename Value>
ESPY_KERNEL_PART inline typename VectorOf<kWidth>::Float load(const Value* from) {
  using Vector = VectorOf<kWidth>;
  if constexpr (std::is_same_v<Value, float>) {
    typename Vector::Float result;
    std::memcpy(&result, from, sizeof result);
    return result;
  } else {
#ifdef ESPY_AVX512_BF16
    return _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16));
#else
    typename Vector::Half half;
    std::memcpy(&half, from, sizeof half);
    return same_bits<typename Vector::Float>(convert<typename Vector::Bits>(half) << 16);
#endif
  }
}

// To bfloat16 it rounds to the nearest, ties to even: adds half of the last place that is kept, less one unit
// when that place is even.
template <int kWidth, typename Value>
ESPY_KERNEL_PART inline void store(const typename VectorOf<kWidth>::Float& value, Value* to) {
  if constexpr (std::is_same_v<Value, float>) {
    std::memcpy(to, &value, sizeof value);
  } else {
#ifdef ESPY_AVX512_BF16
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
#else
    auto bits = same_bits<typename VectorOf<kWidth>::Bits>(value);
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const auto half = convert<typename VectorOf<kWidth>::Half>(bits);
    std::memcpy(to, &half, sizeof half);
#endif
  }
}

// The part of Activations that holds `kWidth` channels, from a multiple of it on, of one sample.
template <int kWidth, typename Value>
struct Plane {
  Value* values;
  std::size_t pixel_stride;
  std::size_t row_stride;

  ESPY_KERNEL_PART Plane(const Activations& all, std::size_t sample, std::size_t channel)
      : values(static_cast<Value*>(all.values) + sample * all.sample_stride +
               channel / all.inner * all.block_stride + channel % all.inner),
        pixel_stride(all.inner),
        row_stride(all.pitch * all.inner) {}

  ESPY_KERNEL_PART typename VectorOf<kWidth>::Float get(std::size_t row, std::size_t column) const {
    return load<kWidth>(values + row * row_stride + column * pixel_stride);
  }
  ESPY_KERNEL_PART void set(std::size_t row, std::size_t column,
                            const typename VectorOf<kWidth>::Float& value) const {
    store<kWidth>(value, values + row * row_stride + column * pixel_stride);
  }
};

template <typename Work>
ESPY_KERNEL_PART inline void for_each_pixel(const Activations& sizes, const Work& work) {
  for (std::size_t row = 0; row < sizes.height; ++row) {
    for (std::size_t column = 0; column < sizes.width; ++column) work(row, column);
  }
}

template <int kWidth>
ESPY_KERNEL_PART inline typename VectorOf<kWidth>::Float greater(const typename VectorOf<kWidth>::Float& a,
                                                                 const typename VectorOf<kWidth>::Float& b) {
  return a > b ? a : b;
}

template <int kWidth>
ESPY_KERNEL_PART inline void add_to(std::vector<double>& sums, std::size_t channel,
                                    const typename VectorOf<kWidth>::Float& addend) {
  std::array<float, kWidth> values = {};
  std::memcpy(values.data(), &addend, sizeof addend);
  for (std::size_t i = 0; i < kWidth; ++i) sums[channel + i] += static_cast<double>(values[i]);
}

template <int kWidth, typename Value>
ESPY_KERNEL_PART inline void sum_channels_of(const Activations& z, ChannelSums& sums) {
  using Float = typename VectorOf<kWidth>::Float;
  for (std::size_t sample = 0; sample < z.samples; ++sample) {
    for (std::size_t channel = 0; channel < z.channels; channel += kWidth) {
      const Plane<kWidth, const Value> plane(z, sample, channel);
      Float first = {};
      Float second = {};
      for_each_pixel(z, [&](std::size_t row, std::size_t column) ESPY_KERNEL_PART {
        const Float value = plane.get(row, column);
        first += value;
        second += value * value;
      });
      add_to<kWidth>(sums.first, channel, first);
      add_to<kWidth>(sums.second, channel, second);
    }
  }
}

// The value before the pool.
template <int kWidth, bool kRelu, bool kSkip, typename Z, typename Y>
struct BeforePool {
  using Float = typename VectorOf<kWidth>::Float;
  Plane<kWidth, const Z> z;
  Plane<kWidth, const Y> skip;  // z's own place when nothing is added
  Float factor;
  Float offset;

  ESPY_KERNEL_PART Float at(std::size_t row, std::size_t column) const {
    const Float zero = {};
    Float value = z.get(row, column) * factor + offset;
    if constexpr (kRelu) value = greater<kWidth>(value, zero);
    if constexpr (kSkip) value += skip.get(row, column);
    return value;
  }
};

template <int kWidth, bool kRelu, bool kSkip, bool kPool, typename Z, typename Y>
ESPY_KERNEL_PART inline void normalize_of(const Activations& z, std::span<const float> factors,
                                          std::span<const float> offsets, const Activations& skip,
                                          const Activations& y) {
  for (std::size_t sample = 0; sample < z.samples; ++sample) {
    for (std::size_t channel = 0; channel < z.channels; channel += kWidth) {
      const BeforePool<kWidth, kRelu, kSkip, Z, Y> before{
          Plane<kWidth, const Z>(z, sample, channel), Plane<kWidth, const Y>(skip, sample, channel),
          load<kWidth>(factors.data() + channel), load<kWidth>(offsets.data() + channel)};
      const Plane<kWidth, Y> to(y, sample, channel);
      for_each_pixel(y, [&](std::size_t row, std::size_t column) ESPY_KERNEL_PART {
        if constexpr (kPool) {
          const std::size_t top = 2 * row;
          const std::size_t left = 2 * column;
          to.set(row, column,
                 greater<kWidth>(greater<kWidth>(before.at(top, left), before.at(top, left + 1)),
                                 greater<kWidth>(before.at(top + 1, left), before.at(top + 1, left + 1))));
        } else {
          to.set(row, column, before.at(row, column));
        }
      });
    }
  }
}

template <int kWidth, bool kRelu, bool kSkip, bool kPool, typename Z, typename Y>
ESPY_KERNEL_PART inline void sum_gradient_of(const Activations& z, std::span<const float> factors,
                                             std::span<const float> offsets, const Activations& skip,
                                             const Activations& gradient, const Activations& unpooled,
                                             ChannelSums& sums) {
  using Float = typename VectorOf<kWidth>::Float;
  const Float zero = {};
  for (std::size_t sample = 0; sample < z.samples; ++sample) {
    for (std::size_t channel = 0; channel < z.channels; channel += kWidth) {
      const BeforePool<kWidth, kRelu, kSkip, Z, Y> before{
          Plane<kWidth, const Z>(z, sample, channel), Plane<kWidth, const Y>(skip, sample, channel),
          load<kWidth>(factors.data() + channel), load<kWidth>(offsets.data() + channel)};
      const Plane<kWidth, const Y> from(gradient, sample, channel);
      const Plane<kWidth, Y> to(unpooled, sample, channel);
      Float first = {};
      Float second = {};
      const auto count = [&](std::size_t row, std::size_t column, const Float& passed) ESPY_KERNEL_PART {
        const Float value = before.z.get(row, column);
        const Float d = !kRelu ? passed : value * before.factor + before.offset > zero ? passed : zero;
        first += d;
        second += d * value;
      };
      for_each_pixel(gradient, [&](std::size_t row, std::size_t column) ESPY_KERNEL_PART {
        const Float whole = from.get(row, column);
        if constexpr (kPool) {
          const std::size_t top = 2 * row;
          const std::size_t left = 2 * column;
          const Float a = before.at(top, left);
          const Float b = before.at(top, left + 1);
          const Float c = before.at(top + 1, left);
          const Float d = before.at(top + 1, left + 1);
          const Float passed_above = greater<kWidth>(a, b) >= greater<kWidth>(c, d) ? whole : zero;
          const Float passed_below = whole - passed_above;
          const Float to_a = a >= b ? passed_above : zero;
          const Float to_c = c >= d ? passed_below : zero;
          const Float to_b = passed_above - to_a;
          const Float to_d = passed_below - to_c;
          to.set(top, left, to_a);
          to.set(top, left + 1, to_b);
          to.set(top + 1, left, to_c);
          to.set(top + 1, left + 1, to_d);
          count(top, left, to_a);
          count(top, left + 1, to_b);
          count(top + 1, left, to_c);
          count(top + 1, left + 1, to_d);
        } else {
          count(row, column, whole);
        }
      });
      add_to<kWidth>(sums.first, channel, first);
      add_to<kWidth>(sums.second, channel, second);
    }
  }
}

template <int kWidth, bool kRelu, typename Z, typename Y>
ESPY_KERNEL_PART inline void finish_gradient_of(std::span<const float> factors,
                                                std::span<const float> offsets, const GradientLine& line,
                                                const Activations& unpooled, const Activations& z) {
  using Float = typename VectorOf<kWidth>::Float;
  const Float zero = {};
  for (std::size_t sample = 0; sample < z.samples; ++sample) {
    for (std::size_t channel = 0; channel < z.channels; channel += kWidth) {
      const Plane<kWidth, const Y> from(unpooled, sample, channel);
      const Plane<kWidth, Z> plane(z, sample, channel);
      const auto factor = load<kWidth>(factors.data() + channel);
      const auto offset = load<kWidth>(offsets.data() + channel);
      const auto d_factor = load<kWidth>(line.d_factors.data() + channel);
      const auto z_factor = load<kWidth>(line.z_factors.data() + channel);
      const auto constant = load<kWidth>(line.constants.data() + channel);
      for_each_pixel(z, [&](std::size_t row, std::size_t column) ESPY_KERNEL_PART {
        const Float value = plane.get(row, column);
        Float d = from.get(row, column);
        if constexpr (kRelu) d = value * factor + offset > zero ? d : zero;
        plane.set(row, column, d_factor * d + z_factor * value + constant);
      });
    }
  }
}

template <int kWidth, typename Value>
ESPY_KERNEL_PART inline void add_of(const Activations& addend, const Activations& sum) {
  for (std::size_t sample = 0; sample < sum.samples; ++sample) {
    for (std::size_t channel = 0; channel < sum.channels; channel += kWidth) {
      const Plane<kWidth, const Value> from(addend, sample, channel);
      const Plane<kWidth, Value> to(sum, sample, channel);
      for_each_pixel(sum, [&](std::size_t row, std::size_t column) ESPY_KERNEL_PART {
        to.set(row, column, to.get(row, column) + from.get(row, column));
      });
    }
  }
}

template <int kWidth, typename Value>
ESPY_KERNEL_PART inline void mean_max_pool_of(const Activations& input, std::span<float> output) {
  using Float = typename VectorOf<kWidth>::Float;
  const auto pixels = static_cast<float>(input.height * input.width);
  for (std::size_t sample = 0; sample < input.samples; ++sample) {
    float* means = output.data() + sample * 2 * input.channels;
    for (std::size_t channel = 0; channel < input.channels; channel += kWidth) {
      const Plane<kWidth, const Value> from(input, sample, channel);
      Float sum = {};
      Float greatest = from.get(0, 0);
      for_each_pixel(input, [&](std::size_t row, std::size_t column) ESPY_KERNEL_PART {
        const Float value = from.get(row, column);
        sum += value;
        greatest = greater<kWidth>(greatest, value);
      });
      store<kWidth>(sum / pixels, means + channel);
      store<kWidth>(greatest, means + input.channels + channel);
    }
  }
}

template <int kWidth, typename Value>
ESPY_KERNEL_PART inline void mean_max_pool_backward_of(const Activations& input,
                                                       std::span<const float> gradient,
                                                       const Activations& input_gradient) {
  using Float = typename VectorOf<kWidth>::Float;
  const Float zero = {};
  const auto pixels = static_cast<float>(input.height * input.width);
  for (std::size_t sample = 0; sample < input.samples; ++sample) {
    const float* means = gradient.data() + sample * 2 * input.channels;
    for (std::size_t channel = 0; channel < input.channels; channel += kWidth) {
      const Plane<kWidth, const Value> from(input, sample, channel);
      const Plane<kWidth, Value> to(input_gradient, sample, channel);
      const Float share = load<kWidth>(means + channel) / pixels;
      Float greatest = from.get(0, 0);
      for_each_pixel(input, [&](std::size_t row, std::size_t column) ESPY_KERNEL_PART {
        greatest = greater<kWidth>(greatest, from.get(row, column));
      });
      Float left = load<kWidth>(means + input.channels + channel);  // until the first of the greatest is met
      for_each_pixel(input, [&](std::size_t row, std::size_t column) ESPY_KERNEL_PART {
        const Float here = from.get(row, column) >= greatest ? left : zero;
        left -= here;
        to.set(row, column, share + here);
      });
    }
  }
}

// The properties of a call, turned into the template arguments of its loops.

template <typename Work>
ESPY_KERNEL_PART inline void with_width(int width, const Work& work) {
  switch (width) {
    case 16:
      return work(std::integral_constant<int, 16>{});
#ifndef ESPY_AVX512_BF16
    case 8:
      return work(std::integral_constant<int, 8>{});
    case 1:
      return work(std::integral_constant<int, 1>{});
#endif
    default:
      assert(false);
  }
}

template <typename Work>
ESPY_KERNEL_PART inline void with_flag(bool flag, const Work& work) {
  if (flag) {
    work(std::true_type{});
  } else {
    work(std::false_type{});
  }
}

// Calls work(width, a value of the activations' type).
template <typename Work>
ESPY_KERNEL_PART inline void with_type(const Activations& activations, const Work& work) {
  with_width(width_of(activations), [&](auto width) ESPY_KERNEL_PART {
    if (activations.element == Element::f32) {
      work(width, float{});
    } else {
      work(width, std::uint16_t{});
    }
  });
}

// Calls work(width, a value of z's type, one of y's).
template <typename Work>
ESPY_KERNEL_PART inline void with_types(const Activations& z, const Activations& y, const Work& work) {
  with_width(std::min(width_of(z), width_of(y)), [&](auto width) ESPY_KERNEL_PART {
    if (y.element == Element::f32) {
      // A convolution that computes in bfloat16 is followed by nothing that does not.
      assert(z.element == Element::f32);
      work(width, float{}, float{});
    } else if (z.element == Element::f32) {
      work(width, float{}, std::uint16_t{});
    } else {
      work(width, std::uint16_t{}, std::uint16_t{});
    }
  });
}

// Calls work(relu?, skip?, pool?).
template <typename Work>
ESPY_KERNEL_PART inline void with_steps(const NormalizeSteps& steps, const Activations* skip,
                                        const Work& work) {
  with_flag(steps.relu == WithRelu::yes, [&](auto relu) ESPY_KERNEL_PART {
    with_flag(skip != nullptr, [&](auto skips) ESPY_KERNEL_PART {
      with_flag(steps.pool == WithPool::yes, [&](auto pool) ESPY_KERNEL_PART { work(relu, skips, pool); });
    });
  });
}

ESPY_KERNEL void sum_channels(const Activations& z, ChannelSums& sums) {
  std::ranges::fill(sums.first, 0.0);
  std::ranges::fill(sums.second, 0.0);
  with_type(z, [&](auto width, auto value)
                   ESPY_KERNEL_PART { sum_channels_of<decltype(width)::value, decltype(value)>(z, sums); });
}

ESPY_KERNEL void normalize(const NormalizeSteps& steps, const Activations& z, std::span<const float> factors,
                           std::span<const float> offsets, const Activations* skip, const Activations& y) {
  with_types(z, y, [&](auto width, auto z_value, auto y_value) ESPY_KERNEL_PART {
    with_steps(steps, skip, [&](auto relu, auto skips, auto pool) ESPY_KERNEL_PART {
      normalize_of<decltype(width)::value, decltype(relu)::value, decltype(skips)::value,
                   decltype(pool)::value, decltype(z_value), decltype(y_value)>(
          z, factors, offsets, skip == nullptr ? z : *skip, y);
    });
  });
}

ESPY_KERNEL void sum_gradient(const NormalizeSteps& steps, const Activations& z,
                              std::span<const float> factors, std::span<const float> offsets,
                              const Activations* skip, const Activations& gradient,
                              const Activations& unpooled, ChannelSums& sums) {
  std::ranges::fill(sums.first, 0.0);
  std::ranges::fill(sums.second, 0.0);
  with_types(z, gradient, [&](auto width, auto z_value, auto y_value) ESPY_KERNEL_PART {
    with_steps(steps, skip, [&](auto relu, auto skips, auto pool) ESPY_KERNEL_PART {
      sum_gradient_of<decltype(width)::value, decltype(relu)::value, decltype(skips)::value,
                      decltype(pool)::value, decltype(z_value), decltype(y_value)>(
          z, factors, offsets, skip == nullptr ? z : *skip, gradient, unpooled, sums);
    });
  });
}

ESPY_KERNEL void finish_gradient(WithRelu relu, std::span<const float> factors,
                                 std::span<const float> offsets, const GradientLine& line,
                                 const Activations& unpooled, const Activations& z) {
  with_types(z, unpooled, [&](auto width, auto z_value, auto y_value) ESPY_KERNEL_PART {
    with_flag(relu == WithRelu::yes, [&](auto has_relu) ESPY_KERNEL_PART {
      finish_gradient_of<decltype(width)::value, decltype(has_relu)::value, decltype(z_value),
                         decltype(y_value)>(factors, offsets, line, unpooled, z);
    });
  });
}

ESPY_KERNEL void add(const Activations& addend, const Activations& sum) {
  with_type(sum, [&](auto width, auto value)
                     ESPY_KERNEL_PART { add_of<decltype(width)::value, decltype(value)>(addend, sum); });
}

ESPY_KERNEL void mean_max_pool(const Activations& input, std::span<float> means_and_maxima) {
  assert(means_and_maxima.size() == input.samples * 2 * input.channels);
  with_type(input, [&](auto width, auto value) ESPY_KERNEL_PART {
    mean_max_pool_of<decltype(width)::value, decltype(value)>(input, means_and_maxima);
  });
}

ESPY_KERNEL void mean_max_pool_backward(const Activations& input, std::span<const float> gradient,
                                        const Activations& input_gradient) {
  assert(gradient.size() == input.samples * 2 * input.channels);
  with_type(input, [&](auto width, auto value) ESPY_KERNEL_PART {
    mean_max_pool_backward_of<decltype(width)::value, decltype(value)>(input, gradient, input_gradient);
  });
}

}  // namespace espy::nn::ESPY_KERNELS
