// Where the rows of ensemble_norm_relu's tensors lie, for its CUDA kernels.
#pragma once

#include "kernels/ensemble_norm_relu.h"
#include "kernels/row_columns.cuh"

namespace ibrl {

// A critic's row of [num_critics, width].
template <typename V>
__device__ const V* critic_row(const void* weight, int64_t width) {
    return static_cast<const V*>(weight) + blockIdx.y * width;
}

// Whether packs of four can be read from all rows of these tensors.
template <typename Args>
bool weights_packed(const Args& args) {
    return args.width % 4 == 0 && pack_aligned(args.x, args.dtype) &&
           pack_aligned(args.bias, DType::float32) && pack_aligned(args.norm_weight, DType::float32) &&
           pack_aligned(args.norm_bias, DType::float32);
}

}  // namespace ibrl
