// Normally distributed numbers as NumPy's generator draws them.
#pragma once

#include "env_pool/pcg64.h"

namespace ibrl {

// numpy's Generator.standard_normal(), but for rounding: NumPy's tables were computed in double precision, which moves
// its numbers by up to 4e-15 (5 million draws compared). The ziggurat of Marsaglia and Tsang, "The ziggurat method for generating random
// variables", Journal of Statistical Software 5 (2000), with 256 strips and 52 bits.
double draw_normal(Pcg64* rng);

}  // namespace ibrl
