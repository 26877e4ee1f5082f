// Refuses tensors that a kernel would write into while others of the same call lie there too: for lists that
// Python would take longer to go through than the kernel takes to run.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

namespace ibrl {

// A tensor's memory.
struct Span {
    const char* name;
    const void* begin;
    int64_t bytes;

    bool overlaps(const Span& other) const {
        const auto at = reinterpret_cast<uintptr_t>(begin),
                   at_other = reinterpret_cast<uintptr_t>(other.begin);
        const auto size = static_cast<uintptr_t>(bytes), other_size = static_cast<uintptr_t>(other.bytes);
        return size > 0 && other_size > 0 && at < at_other + other_size && at_other < at + size;
    }
};

// Throws a ValueError that names the tensor written into.
inline void check_apart(const Span& written, const Span& other) {
    if (written.overlaps(other))
        throw pybind11::value_error(std::string(written.name) +
                                    ": expected memory of its own, got a tensor that overlaps " + other.name);
}

}  // namespace ibrl
