#include "nn/layouts.h"

namespace espy::nn {
namespace {

using dnnl::memory;

// Returns whether the channels of a pixel lie side by side and pixels, rows and samples follow each other,
// with or without borders.
bool lies_by_pixel(const memory::desc& layout) {
  const auto& blocking = layout.data.format_desc.blocking;
  return layout.dims().size() == 4 && blocking.inner_nblks == 0 && blocking.strides[1] == 1 &&
         blocking.strides[3] == layout.dims()[1];
}

}  // namespace

memory::desc any_layout(const memory::dims& sizes, memory::data_type type) {
  return {sizes, type, memory::format_tag::any};
}

memory::dims sizes_of(const memory& memory) { return memory.get_desc().dims(); }

memory::dims bordered_strides(const BorderedSizes& sizes) {
  const auto channels = static_cast<memory::dim>(sizes.channels);
  return {static_cast<memory::dim>(sizes.sample_pixels()) * channels, 1,
          static_cast<memory::dim>(sizes.pitch()) * channels, channels};
}

BorderedSizes bordered_sizes(const memory::dims& sizes, std::size_t border) {
  const auto size = [&](std::size_t dimension) { return static_cast<std::size_t>(sizes[dimension]); };
  return {size(0), size(2), size(3), size(1), border};
}

std::optional<PixelLayout> pixel_layout(const memory::desc& layout) {
  const auto channels = static_cast<std::size_t>(layout.dims()[1]);
  for (const PixelLayout& known :
       {PixelLayout{memory::format_tag::nChw16c, 16}, PixelLayout{memory::format_tag::nChw8c, 8},
        PixelLayout{memory::format_tag::nhwc, channels}, PixelLayout{memory::format_tag::nchw, 1}}) {
    if (layout == memory::desc(layout.dims(), layout.data_type(), known.tag)) return known;
  }
  if (lies_by_pixel(layout)) return PixelLayout{memory::format_tag::nhwc, channels};
  return std::nullopt;
}

memory::desc in_strips(const memory::dims& weights, std::size_t strip) {
  const memory::format_tag tag = strip == 64 ? memory::format_tag::AB16b64a : memory::format_tag::AB16b32a;
  return {weights, memory::data_type::f32, tag};
}

bool is_float(const memory& memory) { return memory.get_desc().data_type() == memory::data_type::f32; }

Activations activations_of(const memory& memory) {
  const memory::desc layout = memory.get_desc();
  const auto size = [&](int dimension) {
    return static_cast<std::size_t>(layout.dims()[static_cast<std::size_t>(dimension)]);
  };
  const std::size_t inner = pixel_layout(layout)->inner;
  const auto& strides = layout.data.format_desc.blocking.strides;
  return {.element = is_float(memory) ? Element::f32 : Element::bf16,
          .values = memory.get_data_handle(),
          .samples = size(0),
          .channels = size(1),
          .height = size(2),
          .width = size(3),
          .inner = inner,
          .pitch = static_cast<std::size_t>(strides[2]) / inner,
          .block_stride = size(2) * size(3) * inner,
          .sample_stride = static_cast<std::size_t>(strides[0])};
}

PoolSizes pool_sizes(const memory::desc& layout, std::size_t inner) {
  const auto height = static_cast<std::size_t>(layout.dims()[2]);
  const auto width = static_cast<std::size_t>(layout.dims()[3]);
  return {layout.get_size() / sizeof(float) / (height * width * inner), height, width, inner};
}

memory::desc by_pixel(const memory::dims& sizes, memory::data_type type) {
  return {sizes, type, memory::format_tag::nhwc};
}

memory::desc channels_last(const memory::dims& sizes, memory::data_type type) {
  return sizes.size() == 4 ? by_pixel(sizes, type) : memory::desc(sizes, type, memory::format_tag::nc);
}

std::uint16_t* halves(const memory& memory) { return static_cast<std::uint16_t*>(memory.get_data_handle()); }

}  // namespace espy::nn
