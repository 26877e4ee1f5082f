// Bytes to scaled float or bfloat16, in the widest instruction set of the machine; CPU only.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace ibrl {

// out[i] = pixel[i] * scale + offset, two roundings in float, then one to T. With `stream` the stores bypass
// the caches, for outputs that would not stay in them anyway.
template <typename T>
using ConvertPixels = void (*)(const uint8_t* pixel, T* out, int64_t count, float scale, float offset,
                               bool stream);

template <typename T>
ConvertPixels<T> best_convert_pixels();

}  // namespace ibrl
