// Where the rows of spatial_embed's tensors lie, for its CUDA kernels.
#pragma once

#include "kernels/row_columns.cuh"
#include "kernels/spatial_embed.h"

namespace ibrl {

// The row of a critic, proposal and batch entry.
__device__ inline int64_t row_offset(const int64_t (&strides)[3], int64_t critic, int64_t proposal,
                                     int64_t entry) {
    return critic * strides[0] + proposal * strides[1] + entry * strides[2];
}

// Whether every row of this tensor, null where it is not wanted, starts where packs of four can be read.
inline bool rows_packed(const void* tensor, const int64_t (&strides)[3], DType dtype) {
    return pack_aligned(tensor, dtype) && strides[0] % 4 == 0 && strides[1] % 4 == 0 && strides[2] % 4 == 0;
}

// The same for what forward and backward both read.
template <typename Args>
bool inputs_packed(const Args& args) {
    return args.embed_dim % 4 == 0 && pack_aligned(args.patches, args.dtype) &&
           rows_packed(args.extra, args.extra_strides, args.dtype) &&
           pack_aligned(args.norm_weight, DType::float32) && pack_aligned(args.norm_bias, DType::float32) &&
           pack_aligned(args.channel_weight, DType::float32);
}

}  // namespace ibrl
