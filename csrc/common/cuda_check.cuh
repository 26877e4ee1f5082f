// CUDA launches: the right device for the time of a call, errors
// as exceptions, index checks that hold in release builds.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#undef NDEBUG
#include <cassert>

namespace ibrl {

inline void cuda_check(cudaError_t status, const char* what) {
    if (status != cudaSuccess)
        throw std::runtime_error(std::string(what) + ": CUDA error: " + cudaGetErrorString(status));
}

// Makes `device` current and puts the caller's device back at the end.
class DeviceGuard {
  public:
    explicit DeviceGuard(int device) : device_(device) {
        cuda_check(cudaGetDevice(&previous_), "cudaGetDevice");
        if (previous_ != device_) cuda_check(cudaSetDevice(device_), "cudaSetDevice");
    }
    ~DeviceGuard() {
        if (previous_ != device_) cudaSetDevice(previous_);
    }
    DeviceGuard(const DeviceGuard&) = delete;
    DeviceGuard& operator=(const DeviceGuard&) = delete;

  private:
    int device_, previous_ = 0;
};

// Blocks that cover `count` items, one thread each.
inline unsigned blocks_for(long long count, int threads) {
    return static_cast<unsigned>((count + threads - 1) / threads);
}

}  // namespace ibrl
