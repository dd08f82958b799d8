// Changed copies of training inputs: what a network should not mind.
#pragma once

#include <cstdint>
#include <span>

#include "image/prepare.h"

namespace espy::model {

enum class Mirror { never, every_other_epoch };

// Each of these is drawn evenly between plus and minus its limit, anew for each sample and epoch.
struct Augmentation {
  float rotation = 0;     // degrees
  float scale = 0;        // of each axis, around 1
  float shear = 0;        // columns a row
  float translation = 0;  // pixels of each axis, in fractions too
  int shift = 0;          // whole pixels of each axis
  // Half of the samples are mirrored in even epochs and the others in odd ones, so that two epochs show both
  // forms of each (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.6).
  Mirror mirror = Mirror::never;
};

// Fills `values` with the input's, in [0, 1], changed as `augmentation` says. What it draws depends on the
// seed, the sample and the epoch alone, so it does not matter which thread computes it. Pixels from outside
// are 0; between pixels it interpolates bilinearly. Shapes: 28x28 -> 784.
void augment(const image::Input& input, const Augmentation& augmentation, std::uint64_t seed,
             std::uint64_t sample, std::uint64_t epoch, std::span<float> values);

}  // namespace espy::model
