// How activations lie in memory: oneDNN's descriptions of it, and our own kernels' view of the same values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <oneapi/dnnl/dnnl.hpp>

#include "nn/amx_convolution.h"
#include "nn/kernels.h"
#include "nn/normalize.h"

namespace espy::nn {

// Leaves the choice of the layout to oneDNN.
dnnl::memory::desc any_layout(const dnnl::memory::dims& sizes,
                              dnnl::memory::data_type type = dnnl::memory::data_type::f32);

// The channels of a pixel side by side, pixels, rows and samples one after the other: [samples, H, W, C].
dnnl::memory::desc by_pixel(const dnnl::memory::dims& sizes, dnnl::memory::data_type type);

// Returns that, or for rows of values, [samples, channels], their plain layout.
dnnl::memory::desc channels_last(const dnnl::memory::dims& sizes, dnnl::memory::data_type type);

dnnl::memory::dims sizes_of(const dnnl::memory& memory);
bool is_float(const dnnl::memory& memory);

// Returns the first of the memory's bfloat16 values.
std::uint16_t* halves(const dnnl::memory& memory);

// A layout that a pool or a batch norm can work in, since it keeps rows of pixels together.
struct PixelLayout {
  dnnl::memory::format_tag tag;
  std::size_t inner;  // values of a pixel that lie side by side
};

// Returns nothing for any other layout.
std::optional<PixelLayout> pixel_layout(const dnnl::memory::desc& layout);

// What BorderedSizes says of activations of these sizes, [samples, C, H, W], and the strides of values that
// lie so, in the same order.
BorderedSizes bordered_sizes(const dnnl::memory::dims& sizes, std::size_t border);
dnnl::memory::dims bordered_strides(const BorderedSizes& sizes);

// The layout of a dense layer's weights, [outputs, inputs], in strips of 32 or 64 outputs (dense_gradient.h).
dnnl::memory::desc in_strips(const dnnl::memory::dims& weights, std::size_t strip);

// The memory has a pixel_layout().
Activations activations_of(const dnnl::memory& memory);

// `inner` is that of the layout's pixel_layout(); it has no borders.
PoolSizes pool_sizes(const dnnl::memory::desc& layout, std::size_t inner);

}  // namespace espy::nn
