// The computation of one architecture for a fixed number of samples: oneDNN primitives in order, with all
// their memory.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "nn/architecture.h"
#include "nn/dense_gradient.h"
#include "nn/parameters.h"
#include "nn/precision.h"

namespace espy::nn {

enum class Purpose { training, inference };

// Whether a graph finds the gradients by the weights of all dense layers itself, or leaves those to its user
// that can be found a part at a time.
enum class DenseGradients { found, left };

// One pass over the network.
struct Pass {
  // For the random numbers of dropout.
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  int first_sample = 0;  // index in the batch of the graph's first sample
  // Without it a graph for training answers as in inference: batch norms use their running averages, and
  // dropout does nothing. No backward() follows.
  bool learns = true;
};

// Returns the key of the random numbers that drop the units of one sample behind one layer: it names the
// sample by its index in the batch, so it does not matter which thread computes it.
std::uint64_t dropout_key(const Pass& pass, std::size_t layer, int sample);

// Errors: dnnl::error from the constructor, nothing afterwards.
// Threads: one at a time, any one under a ComputeMode.
class Graph {
 public:
  // For training, the layouts that the gradients come in become those of the parameters' masters.
  // The architecture is valid; its last layer is Dense when it is for training, and it has no batch norm
  // otherwise (for_inference()).
  Graph(const Architecture& architecture, int samples, Purpose purpose, Precision precision,
        Parameters& parameters, DenseGradients dense_gradients = DenseGradients::found);
  Graph(Graph&&) = default;

  int samples() const { return samples_; }

  // The graph's own input, [samples, C, H, W]; zero at first.
  std::span<float> input() const { return floats(own_input_); }
  // Computes from these [samples, C, H, W] values from now on, instead of its own input. Never writes to
  // them.
  void read_input_from(const float* input);

  // [samples, classes]
  std::span<const float> logits() const { return floats(logits_); }
  // What the last layer reads when that is Dense, [samples, K]; for inference only, otherwise nothing.
  std::span<const float> features() const {
    return features_ ? std::span<const float>(floats(features_)) : std::span<const float>();
  }
  std::span<float> logits_gradient() const { return floats(logits_gradient_); }

  // What finds the gradient by a parameter after backward(), when that is left to the user; else null, and
  // gradient() is it.
  const DenseGradient* dense_gradient(int parameter) const {
    return dense_gradients_[static_cast<std::size_t>(parameter)].get();
  }

  // In the layout of the parameter's master. For the mean and the variance of a batch norm not a gradient but
  // what they were of the samples of the last forward(); the variance is the estimate of all samples'
  // (divided by one less than their number).
  std::span<float> gradient(int parameter) const {
    return floats(gradients_[static_cast<std::size_t>(parameter)]);
  }

  // From input to logits.
  void forward(const Pass& pass) { run(forward_, pass); }
  // From logits_gradient() to the parameters' gradients.
  void backward() { run(backward_, {}); }

  // What the graph does in one of its steps.
  struct OperationInfo {
    std::string name;            // "convolution 3x3x64 of 32x14x14 backward weights"
    std::string implementation;  // what oneDNN chose for this machine, "brgconv:avx512_core", or "espy"
    double flops;                // multiplications and additions of its matrix products; 0 without any
  };

  // Returns the operations of forward(), then those of backward(), in order.
  std::vector<OperationInfo> operations() const;

  // Does forward() and backward(), and adds how long each of the operations() took.
  void run_timed(std::span<std::chrono::duration<double>> times);

 private:
  friend class GraphBuilder;

  // oneDNN's C interface takes the arguments as an array made once; the C++ one builds a map in each call.
  struct PrimitiveCall {
    dnnl::primitive primitive;
    std::vector<dnnl_exec_arg_t> arguments;
  };
  using KernelCall = std::function<void(const Pass&)>;
  struct Operation {
    OperationInfo info;
    std::variant<PrimitiveCall, KernelCall> call;
  };

  void run(const std::vector<Operation>& operations, const Pass& pass);
  void run(const Operation& operation, const Pass& pass);

  int samples_;
  dnnl::stream stream_;
  dnnl::memory own_input_;
  dnnl::memory input_;  // where the operations read
  dnnl::memory features_;
  dnnl::memory logits_;
  dnnl::memory logits_gradient_;
  std::vector<dnnl::memory> gradients_;
  std::vector<std::shared_ptr<DenseGradient>> dense_gradients_;
  std::vector<dnnl::memory> memories_;  // everything that an operation names
  std::vector<Operation> forward_;
  std::vector<Operation> backward_;
};

}  // namespace espy::nn
