// A small pool of worker threads for the CPU kernels. Results never depend on the number of threads: the
// caller's pieces write disjoint outputs, and a piece computes the same whoever runs it.
#pragma once

#include <cstdint>
#include <type_traits>

namespace ibrl {

namespace detail {
using PieceFunction = void (*)(void* body, int64_t begin, int64_t end);
void run_pieces(PieceFunction function, void* body, int64_t count, int64_t grain, int threads);
}  // namespace detail

// Calls body(begin, end) over pieces of at most `grain` that cover [0,
// count), on up to `threads` threads including the calling one. The body must
// not throw. Called while the pool is busy, it runs in the calling thread.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, int threads, Body&& body) {
    if (count <= 0) return;
    if (threads <= 1 || count <= grain) {
        body(int64_t{0}, count);
        return;
    }
    using Plain = std::remove_reference_t<Body>;
    detail::run_pieces([](void* b, int64_t begin, int64_t end) { (*static_cast<Plain*>(b))(begin, end); },
                       &body, count, grain, threads);
}

}  // namespace ibrl
