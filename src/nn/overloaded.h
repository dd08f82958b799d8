// std::visit with one lambda for each alternative.
#pragma once

namespace espy::nn {

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

// clang deduces this by itself from version 17 on.
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace espy::nn
