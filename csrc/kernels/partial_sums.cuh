// The last step of a reduction over blocks: each block left its part, here they are added in a fixed order.
#pragma once

#include "common/cuda_check.cuh"
#include "common/dtype.h"

namespace ibrl {

// Element i of the result is the sum over s of partial[s * count + i].
struct PartialSum {
    const void* partial;  // [splits, count] V
    int64_t splits, count;
    void* out;             // [count] V; where width > 0 rows of T, [rows[0], rows[1], rows[2], width]
    bool add;              // to what is there; rows of T are always written
    int64_t rows[3];       //
    int64_t strides[3];    // of rows; the rows themselves are contiguous
    int64_t width;         //
    unsigned first_block;  // set by launch_partial_sums
};

constexpr int kMaxPartialSums = 4;
struct PartialSums {
    PartialSum sum[kMaxPartialSums];
    int count;
};

constexpr int kSumLanes = 32, kSumSlices = 8, kSumColumns = 4;  // elements of a block: lanes * columns

// Each slice of a block adds up some of the parts, then the slices are added up.
template <typename T, typename V>
__global__ void __launch_bounds__(kSumLanes* kSumSlices)
    partial_sums_kernel(const __grid_constant__ PartialSums sums) {
    __shared__ V shared[kSumSlices][kSumColumns][kSumLanes];
    int which = 0;
    while (which + 1 < sums.count && blockIdx.x >= sums.sum[which + 1].first_block) ++which;
    const PartialSum& job = sums.sum[which];
    const int64_t begin = int64_t{blockIdx.x - job.first_block} * kSumLanes * kSumColumns + threadIdx.x;

    V part[kSumColumns] = {};
    for (int64_t s = threadIdx.y; s < job.splits; s += kSumSlices)
#pragma unroll
        for (int k = 0; k < kSumColumns; ++k)
            if (begin + k * kSumLanes < job.count)
                part[k] += static_cast<const V*>(job.partial)[s * job.count + begin + k * kSumLanes];
#pragma unroll
    for (int k = 0; k < kSumColumns; ++k) shared[threadIdx.y][k][threadIdx.x] = part[k];
    __syncthreads();

    // Slice k writes the k-th group of elements.
    const int64_t i = begin + int64_t{threadIdx.y} * kSumLanes;
    if (threadIdx.y >= kSumColumns || i >= job.count) return;
    V total = 0;
#pragma unroll
    for (int slice = 0; slice < kSumSlices; ++slice) total += shared[slice][threadIdx.y][threadIdx.x];
    if (job.width == 0) {
        V* out = static_cast<V*>(job.out) + i;
        *out = job.add ? *out + total : total;
        return;
    }
    const int64_t row = i / job.width, outer = row / job.rows[2];
    const int64_t at = outer / job.rows[1] * job.strides[0] + outer % job.rows[1] * job.strides[1] +
                       row % job.rows[2] * job.strides[2] + i % job.width;
    static_cast<T*>(job.out)[at] = ConvertTo<T>::from(total);
}

// Runs all sums in one launch; `sums.sum[...].first_block` is filled in here.
template <typename T, typename V>
void launch_partial_sums(PartialSums& sums, cudaStream_t stream) {
    unsigned blocks = 0;
    for (int i = 0; i < sums.count; ++i) {
        sums.sum[i].first_block = blocks;
        blocks += blocks_for(sums.sum[i].count, kSumLanes * kSumColumns);
    }
    if (blocks > 0) partial_sums_kernel<T, V><<<blocks, dim3(kSumLanes, kSumSlices), 0, stream>>>(sums);
}

}  // namespace ibrl
