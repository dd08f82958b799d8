// std::visit with one lambda for each alternative.
#pragma once

namespace espy::nn {

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

}  // namespace espy::nn
