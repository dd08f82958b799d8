// Changed copies of training inputs: what a network should not mind.
#pragma once

#include <cstdint>
#include <span>

#include "image/prepare.h"

namespace espy::model {

enum class Mirror { never, every_other_epoch };

// Each of these is drawn anew for each sample and epoch, evenly between plus and minus its limit where
// nothing else is said. What is 0 changes nothing and costs nothing.
struct Augmentation {
  float rotation = 0;     // degrees
  float scale = 0;        // of each axis, around 1
  float shear = 0;        // columns a row
  float translation = 0;  // pixels of each axis, in fractions too
  int shift = 0;          // whole pixels of each axis; not together with those above, nor with elastic
  // Half of the samples are mirrored in even epochs and the others in odd ones, so that two epochs show both
  // forms of each (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.6).
  // Whole-pixel shifts only.
  Mirror mirror = Mirror::never;
  // Pixels: the standard deviation of each pixel's displacement in each direction, by a smooth random field
  // (Simard, Steinkraus & Platt 2003, "Best practices for convolutional neural networks applied to visual
  // document analysis": on 29x29 their uniform fields, smoothed with sigma 4 and multiplied by 34, have 1.4).
  float elastic = 0;
  // Pixels by which each side of a stroke moves outwards or inwards, at most 1; for light on black alone. The
  // brightest pixel stays as bright.
  float thickness = 0;
  // Pixels, at most 1: a Gaussian blur's standard deviation, drawn between 0 and this.
  float blur = 0;
  // The probability that a box somewhere, of 4 to 8 pixels a side, becomes 0 (Zhong et al. 2017, "Random
  // erasing data augmentation", whose boxes have 2 to 40 % of the picture and a random fill).
  float erasing = 0;
};

// Fills `values` with the input's, in [0, 1], changed as `augmentation` says: first what moves pixels, then
// thickness, blur and erasing. What it draws depends on the seed, the sample and the epoch alone, so it does
// not matter which thread computes it. Pixels from outside are 0; between pixels it interpolates bilinearly.
// Shapes: 28x28 -> 784.
void augment(const image::Input& input, const Augmentation& augmentation, std::uint64_t seed,
             std::uint64_t sample, std::uint64_t epoch, std::span<float> values);

}  // namespace espy::model
