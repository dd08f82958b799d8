// std::visit with one lambda for each alternative.
#pragma once

namespace espy::nn {

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

// Deduced without saying so since C++20, but not by clang before 17.
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace espy::nn
