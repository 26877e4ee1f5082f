#include <algorithm>

#include "common/cuda_check.cuh"
#include "kernels/random_shift_gather.h"

namespace ibrl {
namespace {

constexpr int kThreads = 256;
constexpr int kBandBytes =
    47 * 1024;  // source rows staged in shared memory, below the 48 KiB every chip allows

// Copies `bytes` from device or mapped host memory into shared memory, 16 at a
// time where the source is aligned; the copy keeps the source's misalignment,
// so that both sides of a vector are aligned. Returns where byte 0 went.
__device__ const uint8_t* stage(const uint8_t* source, int bytes, uint8_t* shared) {
    const int misalignment = static_cast<int>(reinterpret_cast<uintptr_t>(source) & 15);
    uint8_t* target = shared + misalignment;
    const int head = min((16 - misalignment) & 15, bytes), vectors = (bytes - head) / 16;
    for (int i = threadIdx.x; i < vectors; i += kThreads)
        reinterpret_cast<uint4*>(target + head)[i] = __ldg(reinterpret_cast<const uint4*>(source + head) + i);
    for (int i = threadIdx.x; i < head; i += kThreads) target[i] = __ldg(source + i);
    for (int i = head + vectors * 16 + threadIdx.x; i < bytes; i += kThreads) target[i] = __ldg(source + i);
    return target;
}

// A block makes one band of rows of one output plane: stage
// its source rows, then write it shifted and scaled.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    random_shift_gather_kernel(RandomShiftGatherArgs args, int band_rows) {
    extern __shared__ __align__(16) uint8_t shared[];
    const int height = static_cast<int>(args.height), width = static_cast<int>(args.width);

    // Which plane: entry i of one side, frame j of the stack, channel c.
    const int planes = static_cast<int>(args.stack * args.channels);
    const int64_t entry = blockIdx.x / planes;
    const int plane = blockIdx.x % planes;
    const int side = entry >= args.batch;
    const int64_t i = entry - side * args.batch;
    const int j = plane / static_cast<int>(args.channels), c = plane % static_cast<int>(args.channels);
    const int64_t row = (side == 0 ? args.rows : args.next_rows)[i];
    assert(row >= 0 && row < args.num_rows && "random_shift_gather: rows: expected rows of frames");
    const int64_t back = steps_back(row, args.stack, args.episode_step);
    assert(back >= 0 && back <= row && "random_shift_gather: episode_step: expected 0 to the row");

    // Its source rows are contiguous, and no more than its own.
    const Shift shift = draw_shift(args, i, side);
    const int y0 = blockIdx.y * band_rows, y1 = min(y0 + band_rows, height);
    const int first = clamp_index(y0 + shift.dy, height), last = clamp_index(y1 - 1 + shift.dy, height);
    const uint8_t* frame = args.frames + stacked_row(row, j, back) * args.frame_stride;
    const uint8_t* rows =
        stage(frame + (int64_t{c} * height + first) * width, (last - first + 1) * width, shared);
    __syncthreads();

    // Each thread writes 16 bytes at a time, or single elements
    // where the plane does not start on such a boundary.
    constexpr int kVector = 16 / sizeof(T);
    const int count = (y1 - y0) * width;
    const auto scale = static_cast<float>(args.scale), offset = static_cast<float>(args.offset);
    T* out = static_cast<T*>(side == 0 ? args.obs : args.next_obs) +
             ((i * planes + plane) * height + y0) * static_cast<int64_t>(width);
    auto pixel = [&](int y, int x) {
        const int from = clamp_index(y0 + y + shift.dy, height) - first;
        const uint8_t value = rows[from * width + clamp_index(x + shift.dx, width)];
        return ConvertTo<T>::from(multiply_then_add(static_cast<float>(value), scale, offset));
    };
    const bool aligned = (reinterpret_cast<uintptr_t>(out) & 15) == 0;
    const int in_vectors = aligned ? count / kVector * kVector : 0;
    for (int at = threadIdx.x * kVector; at < in_vectors; at += kThreads * kVector) {
        alignas(16) T values[kVector];
        int y = at / width, x = at - y * width;
#pragma unroll
        for (int v = 0; v < kVector; ++v) {
            values[v] = pixel(y, x);
            if (++x == width) x = 0, ++y;
        }
        *reinterpret_cast<uint4*>(out + at) = *reinterpret_cast<const uint4*>(values);
    }
    for (int at = in_vectors + threadIdx.x; at < count; at += kThreads)
        out[at] = pixel(at / width, at % width);
}

}  // namespace

void random_shift_gather_cuda(const RandomShiftGatherArgs& args, int device, void* stream) {
    const int64_t planes = args.batch * (args.next_rows ? 2 : 1) * args.stack * args.channels;
    if (planes == 0 || args.height * args.width == 0) return;
    DeviceGuard guard(device);
    const int band_rows = static_cast<int>(std::min<int64_t>(args.height, kBandBytes / args.width));
    const dim3 grid(static_cast<unsigned>(planes), blocks_for(args.height, band_rows));
    const size_t shared_bytes = static_cast<size_t>(band_rows) * args.width + 16;
    const auto on = static_cast<cudaStream_t>(stream);
    if (args.out_dtype == DType::float32)
        random_shift_gather_kernel<float><<<grid, kThreads, shared_bytes, on>>>(args, band_rows);
    else
        random_shift_gather_kernel<bfloat16><<<grid, kThreads, shared_bytes, on>>>(args, band_rows);
    cuda_check(cudaGetLastError(), "random_shift_gather");
}

}  // namespace ibrl
