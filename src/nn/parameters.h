// A network's parameters in the memory layouts that oneDNN computes fastest with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "base/error.h"
#include "nn/network.h"

namespace espy::nn {

// Returns the one oneDNN engine of this program: the CPU.
const dnnl::engine& cpu();

// Returns the error for the edge of the module.
Error to_error(const dnnl::error& error);

// Returns the row-major layout of these sizes.
dnnl::memory::desc row_major(const dnnl::memory::dims& sizes,
                             dnnl::memory::data_type type = dnnl::memory::data_type::f32);

// Returns memory of that layout, all zero.
dnnl::memory zeroed_memory(const dnnl::memory::desc& layout);

// Returns every float of the memory, those that pad its layout included.
std::span<float> floats(const dnnl::memory& memory);

// Return what lies in memory of the parameter's layout, row-major and without what pads it, and put it there.
std::vector<float> to_row_major(const dnnl::memory& from);
void from_row_major(std::span<const float> values, const dnnl::memory& to);

// Attributes of a primitive that any thread may execute: its scratch memory comes with the call.
dnnl::primitive_attr portable_attributes();

// One master of each parameter and the copies of it in other layouts, shared by all graphs of a network.
// Errors: dnnl::error.
// Threads: as a vector; refresh() of different copies may run at once.
class Parameters {
 public:
  // The masters begin as copies of these, row-major.
  explicit Parameters(const std::vector<Tensor>& values);

  // Returns parameters whose masters are the values themselves, for graphs that only read them. The values
  // must outlive them.
  static Parameters borrowed(const std::vector<Tensor>& values);

  int count() const { return static_cast<int>(masters_.size()); }

  // Moves the master of a parameter to this layout, where the optimizer will work on it.
  void lay_out(int index, const dnnl::memory::desc& layout);

  const dnnl::memory& master(int index) const { return masters_[static_cast<std::size_t>(index)]; }

  // Returns the parameter in this layout: the master when it has it, else a copy.
  dnnl::memory in_layout(int index, const dnnl::memory::desc& layout);

  // Return a copy as one of our own kernels wants it: `size` values, of bfloat16 or float, that `pack` makes
  // of the master's values. `form` tells a parameter's forms apart; all of one parameter are of one kernel.
  using PackHalves = std::function<void(std::span<const float> master, std::uint16_t* packed)>;
  using PackFloats = std::function<void(std::span<const float> master, float* packed)>;
  enum class Form { forward, backward };
  dnnl::memory packed(int index, Form form, std::size_t size, const PackHalves& pack);
  dnnl::memory packed(int index, Form form, std::size_t size, const PackFloats& pack);

  // Values of a master that lie together.
  struct Part {
    std::size_t first;
    std::size_t count;
  };

  // As packed(), of a dense layer's weights in strips (dense_gradient.h), where `pack` can do whole inputs of
  // a strip, 32 or a multiple of it but for the last, apart from the others.
  using PackPart =
      std::function<void(std::span<const float> master, const Part& part, std::uint16_t* packed)>;
  dnnl::memory packed_by_parts(int index, Form form, std::size_t size, const PackPart& pack);

  // Brings a copy up to date after its master changed.
  int copy_count() const { return static_cast<int>(copies_.size()); }
  void refresh(int copy) const;
  // Does so for a part of the master, with those copies of it that have parts.
  void refresh(int index, const Part& part) const;
  bool has_parts(int copy) const { return copies_[static_cast<std::size_t>(copy)].refresh_part != nullptr; }

  // Returns the masters' values, row-major.
  std::vector<Tensor> values() const;

 private:
  struct Copy {
    int index;
    dnnl::memory memory;
    std::optional<Form> form;  // of a packed one
    std::function<void()> refresh;
    std::function<void(const Part&)> refresh_part = {};  // nothing where it has none
  };

  Parameters() = default;

  template <typename Value>
  dnnl::memory pack_as(dnnl::memory::data_type type, int index, Form form, std::size_t size,
                       const std::function<void(std::span<const float>, Value*)>& pack);

  std::vector<Shape> shapes_;
  std::vector<dnnl::memory> masters_;
  std::vector<Copy> copies_;
};

}  // namespace espy::nn
