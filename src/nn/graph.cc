#include "nn/graph.h"

#include <cassert>

#include "nn/graph_builder.h"
#include "nn/overloaded.h"
#include "nn/random.h"

namespace espy::nn {

std::uint64_t dropout_key(const Pass& pass, std::size_t layer, int sample) {
  std::uint64_t key = mix(pass.seed);
  for (const std::uint64_t part : {pass.step, std::uint64_t{layer}, static_cast<std::uint64_t>(sample)}) {
    key = mix(key + kGoldenGamma * (part + 1));
  }
  return key;
}

Graph::Graph(const Architecture& architecture, int samples, Purpose purpose, Precision precision,
             Parameters& parameters, DenseGradients dense_gradients)
    : samples_(samples), stream_(cpu()) {
  GraphBuilder(architecture, purpose, precision, parameters, dense_gradients, *this).build();
}

void Graph::read_input_from(const float* input) { input_.set_data_handle(const_cast<float*>(input)); }

void Graph::run(const Operation& operation, const Pass& pass) {
  const Overloaded execute{
      [this](const PrimitiveCall& call) {
        [[maybe_unused]] const dnnl_status_t status =
            dnnl_primitive_execute(call.primitive.get(), stream_.get(),
                                   static_cast<int>(call.arguments.size()), call.arguments.data());
        assert(status == dnnl_success);
      },
      [&pass](const KernelCall& kernel) { kernel(pass); },
  };
  std::visit(execute, operation.call);
}

void Graph::run(const std::vector<Operation>& operations, const Pass& pass) {
  for (const Operation& operation : operations) run(operation, pass);
}

std::vector<Graph::OperationInfo> Graph::operations() const {
  std::vector<OperationInfo> result;
  for (const auto* operations : {&forward_, &backward_}) {
    for (const Operation& operation : *operations) result.push_back(operation.info);
  }
  return result;
}

void Graph::run_timed(std::span<std::chrono::duration<double>> times) {
  assert(times.size() == forward_.size() + backward_.size());
  auto time = times.begin();
  for (const auto* operations : {&forward_, &backward_}) {
    for (const Operation& operation : *operations) {
      const auto began = std::chrono::steady_clock::now();
      run(operation, {});
      *time++ += std::chrono::steady_clock::now() - began;
    }
  }
}

}  // namespace espy::nn
