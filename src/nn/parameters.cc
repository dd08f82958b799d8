#include "nn/parameters.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "base/format.h"
#include "base/huge_pages.h"

namespace espy::nn {
namespace {

using dnnl::memory;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

dnnl::reorder::primitive_desc reorder_between(const memory& from, const memory& to) {
  return {cpu(), from.get_desc(), cpu(), to.get_desc(), portable_attributes()};
}

std::size_t count_of(const memory::dims& sizes) {
  return static_cast<std::size_t>(
      std::accumulate(sizes.begin(), sizes.end(), memory::dim{1}, std::multiplies<>()));
}

// Returns memory of that layout, to be filled: what pads a blocked layout is zero, as it must be.
memory unfilled_memory(const memory::desc& layout) {
  const bool padded =
      layout.get_size() != count_of(layout.dims()) * memory::data_type_size(layout.data_type());
  if (padded) return zeroed_memory(layout);
  memory result(layout, cpu());
  prefer_huge_pages(result.get_data_handle(), layout.get_size());
  return result;
}

void copy(memory from, memory to) {
  dnnl::stream stream(cpu());
  dnnl::reorder(from, to).execute(stream, from, to);
}

}  // namespace

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

Error to_error(const dnnl::error& error) {
  return {error.status == dnnl_out_of_memory ? ErrorCode::unavailable : ErrorCode::internal,
          format("oneDNN failed: {} (status {})", error.what(), static_cast<int>(error.status))};
}

memory::desc row_major(const memory::dims& sizes, memory::data_type type) {
  memory::dims strides(sizes.size(), 1);
  for (std::size_t i = sizes.size() - 1; i > 0; --i) strides[i - 1] = strides[i] * sizes[i];
  return {sizes, type, strides};
}

memory zeroed_memory(const memory::desc& layout) {
  memory result(layout, cpu());
  prefer_huge_pages(result.get_data_handle(), layout.get_size());
  std::memset(result.get_data_handle(), 0, layout.get_size());
  return result;
}

std::span<float> floats(const memory& memory) {
  return {static_cast<float*>(memory.get_data_handle()), memory.get_desc().get_size() / sizeof(float)};
}

std::vector<float> to_row_major(const memory& from) {
  const memory::dims sizes = from.get_desc().dims();
  std::vector<float> values(count_of(sizes));
  copy(from, memory(row_major(sizes), cpu(), values.data()));
  return values;
}

void from_row_major(std::span<const float> values, const memory& to) {
  const memory::dims sizes = to.get_desc().dims();
  assert(values.size() == count_of(sizes));
  // oneDNN takes what it only reads by a pointer to what it may write.
  copy(memory(row_major(sizes), cpu(), const_cast<float*>(values.data())), to);
}

dnnl::primitive_attr portable_attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

Parameters::Parameters(const std::vector<Tensor>& values) {
  for (const Tensor& tensor : values) {
    shapes_.push_back(tensor.shape);
    masters_.push_back(unfilled_memory(row_major({tensor.shape.begin(), tensor.shape.end()})));
    std::copy(tensor.values.begin(), tensor.values.end(), floats(masters_.back()).begin());
  }
}

Parameters Parameters::borrowed(const std::vector<Tensor>& values) {
  Parameters result;
  for (const Tensor& tensor : values) {
    result.shapes_.push_back(tensor.shape);
    result.masters_.emplace_back(row_major({tensor.shape.begin(), tensor.shape.end()}), cpu(),
                                 const_cast<float*>(tensor.values.data()));
  }
  return result;
}

void Parameters::lay_out(int index, const memory::desc& layout) {
  if (master(index).get_desc() == layout) return;
  assert(std::none_of(copies_.begin(), copies_.end(), [&](const Copy& copy) { return copy.index == index; }));
  memory laid_out = unfilled_memory(layout);
  copy(master(index), laid_out);
  masters_[at(index)] = laid_out;
}

memory Parameters::in_layout(int index, const memory::desc& layout) {
  const memory& from = master(index);
  if (from.get_desc() == layout) return from;
  for (const Copy& copy : copies_) {
    if (copy.index == index && !copy.form && copy.memory.get_desc() == layout) return copy.memory;
  }
  const memory to = unfilled_memory(layout);
  const dnnl::reorder::primitive_desc description = reorder_between(from, to);
  const memory scratch(description.scratchpad_desc(), cpu());
  copies_.push_back(
      {index, to, std::nullopt, [from, to, scratch, reorder = dnnl::reorder(description)] {
         dnnl::stream stream(cpu());
         reorder.execute(stream, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, scratch}});
       }});
  refresh(copy_count() - 1);
  return to;
}

template <typename Value>
memory Parameters::pack_as(memory::data_type type, int index, Form form, std::size_t size,
                           const std::function<void(std::span<const float>, Value*)>& pack) {
  for (const Copy& copy : copies_) {
    if (copy.index == index && copy.form == form) return copy.memory;
  }
  const memory to = zeroed_memory({{static_cast<memory::dim>(size)}, type, memory::format_tag::a});
  copies_.push_back({index, to, form, [from = master(index), to, pack] {
                       pack(floats(from), static_cast<Value*>(to.get_data_handle()));
                     }});
  refresh(copy_count() - 1);
  return to;
}

memory Parameters::packed(int index, Form form, std::size_t size, const PackHalves& pack) {
  return pack_as(memory::data_type::bf16, index, form, size, pack);
}

memory Parameters::packed(int index, Form form, std::size_t size, const PackFloats& pack) {
  return pack_as(memory::data_type::f32, index, form, size, pack);
}

memory Parameters::packed_by_parts(int index, Form form, std::size_t size, const PackPart& pack) {
  const memory from = master(index);
  const Part all = {0, floats(from).size()};
  const PackHalves pack_all = [pack, all](std::span<const float> master, std::uint16_t* to) {
    pack(master, all, to);
  };
  const memory to = packed(index, form, size, pack_all);
  const auto copy = std::ranges::find_if(
      copies_, [&](const Copy& candidate) { return candidate.index == index && candidate.form == form; });
  copy->refresh_part = [from, to, pack](const Part& part) {
    pack(floats(from), part, static_cast<std::uint16_t*>(to.get_data_handle()));
  };
  return to;
}

void Parameters::refresh(int copy) const { copies_[at(copy)].refresh(); }

void Parameters::refresh(int index, const Part& part) const {
  for (const Copy& copy : copies_) {
    if (copy.index == index && copy.refresh_part) copy.refresh_part(part);
  }
}

std::vector<Tensor> Parameters::values() const {
  std::vector<Tensor> result;
  for (int i = 0; i < count(); ++i) result.push_back({shapes_[at(i)], to_row_major(master(i))});
  return result;
}

}  // namespace espy::nn
