// Matrix products of panels, for each instruction set: tiles of the result stay in registers while one operand is
// read vector by vector and the other value by value.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/cpu_isa.h"
#include "kernels/mlp.h"

namespace ibrl {

// Width of a vector, and rows of a tile: a tile of two vectors a row fills the registers.
struct Portable {
    static constexpr int bytes = 16, rows = 4;
};
struct Avx2 {
    static constexpr int bytes = 32, rows = 6;
};
struct Avx512 {
    static constexpr int bytes = 64, rows = 8;
};

template <int Bytes, typename V>
struct Lane {
    typedef V type __attribute__((vector_size(Bytes)));
};
template <typename Isa, typename V>
using Vector = typename Lane<Isa::bytes, V>::type;
template <typename Isa, typename V>
constexpr int64_t kVector = Isa::bytes / static_cast<int64_t>(sizeof(V));

template <typename P, typename V>
IBRL_ALWAYS_INLINE P load_vector(const V* from) {
    P value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <typename P, typename V>
IBRL_ALWAYS_INLINE void store_vector(V* to, P value) {
    std::memcpy(to, &value, sizeof value);
}

// The first `count` values of a vector.
template <typename P, typename V>
IBRL_ALWAYS_INLINE void store_part(V* to, P value, int64_t count) {
    V values[sizeof(P) / sizeof(V)];
    std::memcpy(values, &value, sizeof value);
    for (int64_t i = 0; i < count; ++i) to[i] = values[i];
}

// The left operand, [rows, blocks * count]: blocks of its inner dimension may lie apart. The right one is
// [blocks * count, kLanes], without gaps.
template <typename V>
struct Left {
    const V* values;
    int64_t row, inner, block;    // strides
    int64_t blocks, count, last;  // `count` of the inner dimension to a block, `last` in the last one
};

// The result, [rows, columns] with a stride between rows; bias, one for each row, or null.
template <typename V>
struct Result {
    V* values;
    int64_t row, columns;
    const V* bias;
};

// One tile of R rows and N vectors; the sum over the inner dimension goes in order, into one register.
template <typename Isa, typename V, int R, int N>
IBRL_ALWAYS_INLINE void multiply_tile(const Left<V>& left, const V* right, int64_t from_row, int64_t column,
                                      const Result<V>& result) {
    using P = Vector<Isa, V>;
    constexpr int64_t size = kVector<Isa, V>;
    constexpr int groups = (R + 3) / 4;
    const int64_t stride = left.row * sizeof(V), stride3 = 3 * stride, step = left.inner * sizeof(V);
    P sum[R][N] = {};
    const V* b = right + column;
    for (int64_t block = 0; block < left.blocks; ++block) {
        // a pointer for every four rows: the others are reached from it by what an address may hold
        const char* a[groups];
        for (int g = 0; g < groups; ++g)
            a[g] = reinterpret_cast<const char*>(left.values + block * left.block +
                                                 (from_row + 4 * g) * left.row);
        const int64_t count = block + 1 < left.blocks ? left.count : left.last;
        for (int64_t k = 0; k < count; ++k) {
            P y[N];
            for (int n = 0; n < N; ++n) y[n] = load_vector<P>(b + n * size);
            for (int r = 0; r < R; ++r) {
                const int in_group = r % 4;
                V x;
                std::memcpy(&x, a[r / 4] + (in_group == 3 ? stride3 : in_group * stride), sizeof x);
                for (int n = 0; n < N; ++n) sum[r][n] += x * y[n];
            }
            b += kLanes<V>;
            for (int g = 0; g < groups; ++g) {
                a[g] += step;
                asm("" : "+r"(a[g]));  // keep the compiler from a pointer for every row
            }
        }
    }
    // unrolled, and nowhere with an address of its own: the sums are to stay in registers
    const int64_t fits = result.columns - column;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) {
            V* to = result.values + (from_row + r) * result.row + column + n * size;
            const P value = result.bias ? sum[r][n] + result.bias[from_row + r] : sum[r][n];
            if (fits >= (n + 1) * size)
                store_vector(to, value);
            else
                store_part<P>(to, value, fits - n * size);
        }
}

template <typename Isa, typename V, int N>
IBRL_ALWAYS_INLINE void multiply_columns(const Left<V>& left, int64_t rows, const V* right, int64_t column,
                                         const Result<V>& result) {
    int64_t row = 0;
    for (; row + Isa::rows <= rows; row += Isa::rows)
        multiply_tile<Isa, V, Isa::rows, N>(left, right, row, column, result);
    if constexpr (Isa::rows > 4)
        for (; row + 4 <= rows; row += 4) multiply_tile<Isa, V, 4, N>(left, right, row, column, result);
    for (; row + 2 <= rows; row += 2) multiply_tile<Isa, V, 2, N>(left, right, row, column, result);
    if (row < rows) multiply_tile<Isa, V, 1, N>(left, right, row, column, result);
}

// result = left * right (+ bias), for the columns that the result has.
template <typename Isa, typename V>
IBRL_ALWAYS_INLINE void multiply(const Left<V>& left, int64_t rows, const V* right, const Result<V>& result) {
    constexpr int64_t size = kVector<Isa, V>;
    int64_t column = 0;
    for (; column + size < result.columns; column += 2 * size)
        multiply_columns<Isa, V, 2>(left, rows, right, column, result);
    if (column < result.columns) multiply_columns<Isa, V, 1>(left, rows, right, column, result);
}

// Writes `count` columns of up to kLanes rows, each anywhere, as a panel [count, kLanes]; missing rows are zero.
template <typename V>
IBRL_ALWAYS_INLINE void transpose(const V* const* rows, int64_t num_rows, int64_t count, V* panel) {
    typedef V Four __attribute__((vector_size(4 * sizeof(V))));
    typedef std::conditional_t<sizeof(V) == 4, int32_t, int64_t> Index;
    typedef Index Order __attribute__((vector_size(4 * sizeof(V))));
    constexpr Order low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, first = {0, 1, 4, 5}, second = {2, 3, 6, 7};
    int64_t r = 0;
    for (; r + 4 <= num_rows; r += 4) {
        int64_t c = 0;
        for (; c + 4 <= count; c += 4) {
            Four a[4];
            for (int i = 0; i < 4; ++i) a[i] = load_vector<Four>(rows[r + i] + c);
            const Four p = __builtin_shuffle(a[0], a[1], low), q = __builtin_shuffle(a[0], a[1], high);
            const Four s = __builtin_shuffle(a[2], a[3], low), t = __builtin_shuffle(a[2], a[3], high);
            V* to = panel + c * kLanes<V> + r;
            store_vector(to, __builtin_shuffle(p, s, first));
            store_vector(to + kLanes<V>, __builtin_shuffle(p, s, second));
            store_vector(to + 2 * kLanes<V>, __builtin_shuffle(q, t, first));
            store_vector(to + 3 * kLanes<V>, __builtin_shuffle(q, t, second));
        }
        for (; c < count; ++c)
            for (int64_t i = r; i < r + 4; ++i) panel[c * kLanes<V> + i] = rows[i][c];
    }
    for (; r < kLanes<V>; ++r)
        for (int64_t c = 0; c < count; ++c) panel[c * kLanes<V> + r] = r < num_rows ? rows[r][c] : V(0);
}

}  // namespace ibrl
