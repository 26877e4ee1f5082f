// What the CUDA kernels that normalise rows share: a block owns all columns
// of a row, a few neighbours to each thread, and takes several rows at a
// time, so that what belongs to a column is read once for all of them.
#pragma once

#include <type_traits>

#include "common/cuda_check.cuh"
#include "common/dtype.h"

namespace ibrl {

constexpr int kRowThreads = 256;
constexpr int kRowWarps = kRowThreads / 32;
constexpr int64_t kMaxRowWidth = 2048;

// Columns that a thread owns of a row this wide, and rows
// that a block takes at a time: 64 bytes of each thread.
constexpr int columns_for(int64_t width) {
    return width <= 1024 ? 4 : 8;
}
constexpr int rows_for(int columns, int element_bytes) {
    return 64 / (columns * element_bytes) < 2 ? 2 : 64 / (columns * element_bytes);
}

// kPack neighbours as they lie in memory, in as few registers as they fit.
template <typename T, int kPack>
struct Packed {
    static constexpr int kBytes = kPack * int{sizeof(T)}, kWords = kBytes < 4 ? 1 : kBytes / 4;
    uint32_t word[kWords];

    __device__ void load(const T* from) {
        if constexpr (kBytes == 2) {
            word[0] = __ldg(reinterpret_cast<const uint16_t*>(from));
        } else if constexpr (kBytes == 4) {
            word[0] = __ldg(reinterpret_cast<const uint32_t*>(from));
        } else if constexpr (kBytes == 8) {
            const uint2 two = __ldg(reinterpret_cast<const uint2*>(from));
            word[0] = two.x, word[1] = two.y;
        } else {
            static_assert(kBytes == 16);
            const uint4 four = __ldg(reinterpret_cast<const uint4*>(from));
            word[0] = four.x, word[1] = four.y, word[2] = four.z, word[3] = four.w;
        }
    }
    __device__ void clear() {
#pragma unroll
        for (int w = 0; w < kWords; ++w) word[w] = 0;
    }
    template <typename V>
    __device__ V value(int j) const {
        if constexpr (std::is_same_v<T, bfloat16>)
            return float_from_bits(j % 2 == 0 ? word[j / 2] << 16 : word[j / 2] & 0xFFFF0000u);
        else if constexpr (std::is_same_v<T, float>)
            return float_from_bits(word[j]);
        else
            return __hiloint2double(static_cast<int>(word[2 * j + 1]), static_cast<int>(word[2 * j]));
    }
};

// Writes kPack neighbours at once.
template <int kPack, typename T, typename V>
__device__ void store_pack(T* to, const V* value) {
    T element[kPack];
#pragma unroll
    for (int j = 0; j < kPack; ++j) element[j] = ConvertTo<T>::from(value[j]);
    if constexpr (std::is_same_v<T, bfloat16> && kPack == 4) {
        *reinterpret_cast<uint2*>(to) = {uint32_t{element[0].bits} | uint32_t{element[1].bits} << 16,
                                         uint32_t{element[2].bits} | uint32_t{element[3].bits} << 16};
    } else if constexpr (std::is_same_v<T, float> && kPack == 4) {
        *reinterpret_cast<float4*>(to) = {element[0], element[1], element[2], element[3]};
    } else {
        static_assert(kPack == 1);
        *to = element[0];
    }
}

// The columns of one thread: kGroups packs of kPack neighbours. T is the rows' element type, V what is
// computed with. Columns past a row's end hold zero.
template <typename T_, typename V_, int kPack_, int kGroups>
struct RowColumns {
    using T = T_;
    using V = V_;
    static constexpr int kPack = kPack_, kCount = kPack * kGroups;
    static constexpr int kRows = rows_for(kCount, sizeof(T));
    // Blocks that share a multiprocessor's registers; the layouts for odd cases get all of them.
    static constexpr int kBlocks = kPack == 4 && kGroups == 1 ? 2 : 1;
    struct Raw {
        Packed<T, kPack> pack[kGroups];
    };

    __device__ static int first(int group) { return (group * kRowThreads + int(threadIdx.x)) * kPack; }
    __device__ static int at(int k) { return first(k / kPack) + k % kPack; }
    __device__ static bool inside(int k, int width) { return first(k / kPack) < width; }

    __device__ static void load_raw(const T* row, int width, Raw& raw) {
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
            raw.pack[g].clear();
            if (first(g) < width) raw.pack[g].load(row + first(g));
        }
    }
    __device__ static void convert(const Raw& raw, V (&value)[kCount]) {
#pragma unroll
        for (int k = 0; k < kCount; ++k) value[k] = raw.pack[k / kPack].template value<V>(k % kPack);
    }
    template <typename From>
    __device__ static void load(const From* row, int width, V (&value)[kCount]) {
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
            Packed<From, kPack> pack;
            pack.clear();
            if (first(g) < width) pack.load(row + first(g));
#pragma unroll
            for (int j = 0; j < kPack; ++j) value[g * kPack + j] = pack.template value<V>(j);
        }
    }
    // What store() wrote to shared memory for the widest row.
    __device__ static void load_shared(const V* row, V (&value)[kCount]) {
#pragma unroll
        for (int k = 0; k < kCount; ++k) value[k] = row[at(k)];
    }
    template <typename To>
    __device__ static void store(To* row, int width, const V (&value)[kCount]) {
#pragma unroll
        for (int g = 0; g < kGroups; ++g)
            if (first(g) < width) store_pack<kPack>(row + first(g), value + g * kPack);
    }
};

// Replaces each of kCount values (a power of two, at most 32) by its sum over the
// block, in an order that never changes. `shared` has room for kRowWarps *
// kCount; two calls in a row need two of them, the next may take the first again.
template <int kCount, typename V>
__device__ void block_sums(V (&value)[kCount], V* shared) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr unsigned kAll = 0xFFFFFFFFu;

    // Lanes trade halves of their values, until each holds one value summed over the lanes that it met.
    int bit = 16;
#pragma unroll
    for (int half = kCount / 2; half > 0; half /= 2, bit /= 2) {
        const bool upper = lane & bit;
#pragma unroll
        for (int i = 0; i < half; ++i) {
            const V kept = upper ? value[i + half] : value[i], given = upper ? value[i] : value[i + half];
            value[i] = kept + __shfl_xor_sync(kAll, given, bit);
        }
    }
#pragma unroll
    for (int step = 16 / kCount; step > 0; step /= 2) value[0] += __shfl_xor_sync(kAll, value[0], step);
    constexpr int kShare = 32 / kCount;
    if (lane % kShare == 0) shared[warp * kCount + lane / kShare] = value[0];
    __syncthreads();

    // Every warp adds up the warps.
    V sum = 0;
#pragma unroll
    for (int w = 0; w < kRowWarps; w += kShare)
        if (w + lane / kCount < kRowWarps) sum += shared[(w + lane / kCount) * kCount + lane % kCount];
#pragma unroll
    for (int step = kCount; step < 32; step *= 2) sum += __shfl_xor_sync(kAll, sum, step);
#pragma unroll
    for (int i = 0; i < kCount; ++i) value[i] = __shfl_sync(kAll, sum, i);
}

// Whether packs of four can be read at an address: 16 bytes, or 8 of bfloat16.
inline bool pack_aligned(const void* address, DType dtype) {
    return reinterpret_cast<uintptr_t>(address) % (dtype == DType::bfloat16 ? 8 : 16) == 0;
}

// Launch::run<RowColumns<...>>(args, stream) for rows of this element type and width; `packed` says whether
// all rows start where packs of four can be read.
template <typename Launch, typename Args>
void launch_for_rows(const Args& args, DType dtype, int64_t width, bool packed, cudaStream_t stream) {
    const bool narrow = columns_for(width) == 4;
    if (width > kMaxRowWidth) throw std::invalid_argument("expected rows of at most 2048 elements on CUDA");
    const auto run = [&](auto element, auto computed) {
        using T = decltype(element);
        using V = decltype(computed);
        if constexpr (!std::is_same_v<T, double>)
            if (packed)
                return narrow ? Launch::template run<RowColumns<T, V, 4, 1>>(args, stream)
                              : Launch::template run<RowColumns<T, V, 4, 2>>(args, stream);
        return narrow ? Launch::template run<RowColumns<T, V, 1, 4>>(args, stream)
                      : Launch::template run<RowColumns<T, V, 1, 8>>(args, stream);
    };
    if (dtype == DType::float64)
        run(double{}, double{});
    else if (dtype == DType::bfloat16)
        run(bfloat16{}, float{});
    else
        run(float{}, float{});
}

}  // namespace ibrl
