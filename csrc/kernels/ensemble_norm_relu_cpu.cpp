// For tests of the CUDA formulas without a GPU: on the CPU the critics take another way, which is faster.
#include <cmath>
#include <vector>

#include "common/thread_pool.h"
#include "kernels/ensemble_norm_relu.h"

namespace ibrl {
namespace {

// Calls body(T{}, V{}) for the element type and what is computed with.
template <typename Body>
void with_types(DType dtype, Body&& body) {
    if (dtype == DType::float64) return body(double{}, double{});
    if (dtype == DType::bfloat16) return body(bfloat16{}, float{});
    body(float{}, float{});
}

// Row `at` of [rows, width].
template <typename T>
const T* row_of(const void* tensor, int64_t at, int64_t width) {
    return static_cast<const T*>(tensor) + at * width;
}

template <typename T, typename V>
void forward_row(const EnsembleNormReluArgs& args, int64_t at) {
    const int64_t width = args.width, critic = at / args.batch;
    const T* x = row_of<T>(args.x, at, width);
    const V* bias = row_of<V>(args.bias, critic, width);
    const V* scale = row_of<V>(args.norm_weight, critic, width);
    const V* shift = row_of<V>(args.norm_bias, critic, width);
    double sum = 0, square = 0;
    for (int64_t h = 0; h < width; ++h) sum += convert_from<V>(x[h]) + bias[h];
    const V mean = static_cast<V>(sum / static_cast<double>(width));
    for (int64_t h = 0; h < width; ++h) {
        const V rest = convert_from<V>(x[h]) + bias[h] - mean;
        square += rest * rest;
    }
    const V rstd = static_cast<V>(1.0 / std::sqrt(square / static_cast<double>(width) + args.eps));
    T* out = static_cast<T*>(args.out) + at * width;
    for (int64_t h = 0; h < width; ++h) {
        const V value = (convert_from<V>(x[h]) + bias[h] - mean) * rstd * scale[h] + shift[h];
        out[h] = ConvertTo<T>::from(value < V(0) ? V(0) : value);
    }
    static_cast<V*>(args.mean)[at] = mean;
    static_cast<V*>(args.rstd)[at] = rstd;
}

// All gradients of one critic; `sums` [3, width] are those of bias and LayerNorm's weight and bias.
template <typename T, typename V>
void backward_critic(const EnsembleNormReluBackwardArgs& args, int64_t critic) {
    const int64_t width = args.width;
    const V* bias = row_of<V>(args.bias, critic, width);
    const V* scale = row_of<V>(args.norm_weight, critic, width);
    const V* shift = row_of<V>(args.norm_bias, critic, width);
    std::vector<double> sums(3 * width, 0.0);
    std::vector<V> normal(width), error(width);
    for (int64_t at = critic * args.batch; at < (critic + 1) * args.batch; ++at) {
        const T* x = row_of<T>(args.x, at, width);
        const T* grad = row_of<T>(args.grad_out, at, width);
        const V mean = static_cast<const V*>(args.mean)[at], rstd = static_cast<const V*>(args.rstd)[at];
        double first = 0, second = 0;
        for (int64_t h = 0; h < width; ++h) {
            normal[h] = (convert_from<V>(x[h]) + bias[h] - mean) * rstd;
            error[h] = normal[h] * scale[h] + shift[h] <= V(0) ? V(0) : convert_from<V>(grad[h]);
            first += error[h] * scale[h];
            second += error[h] * scale[h] * normal[h];
        }
        const V part = static_cast<V>(first / static_cast<double>(width));
        const V along = static_cast<V>(second / static_cast<double>(width));
        T* grad_x = static_cast<T*>(args.grad_x) + at * width;
        for (int64_t h = 0; h < width; ++h) {
            const V back = (error[h] * scale[h] - part - normal[h] * along) * rstd;
            grad_x[h] = ConvertTo<T>::from(back);
            sums[h] += back;
            sums[width + h] += error[h] * normal[h];
            sums[2 * width + h] += error[h];
        }
    }
    if (args.grad_bias == nullptr) return;
    void* const grads[] = {args.grad_bias, args.grad_norm_weight, args.grad_norm_bias};
    for (int64_t which = 0; which < 3; ++which)
        for (int64_t h = 0; h < width; ++h)
            static_cast<V*>(grads[which])[critic * width + h] = static_cast<V>(sums[which * width + h]);
}

}  // namespace

void ensemble_norm_relu_cpu(const EnsembleNormReluArgs& args, int threads) {
    with_types(args.dtype, [&]<typename T, typename V>(T, V) {
        parallel_for(args.num_critics * args.batch, 8, threads, [&](int64_t begin, int64_t end) {
            for (int64_t at = begin; at < end; ++at) forward_row<T, V>(args, at);
        });
    });
}

void ensemble_norm_relu_backward_cpu(const EnsembleNormReluBackwardArgs& args, int threads) {
    with_types(args.dtype, [&]<typename T, typename V>(T, V) {
        parallel_for(args.num_critics, 1, threads, [&](int64_t begin, int64_t end) {
            for (int64_t critic = begin; critic < end; ++critic) backward_critic<T, V>(args, critic);
        });
    });
}

}  // namespace ibrl
