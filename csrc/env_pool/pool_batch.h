// What goes into a pool's calls and comes out of them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "env_pool/env.h"

namespace ibrl {

// Arrays of the caller that receive results, one row per environment. Null where not wanted. Observations are
// stacks of k frames, newest first, by key: the observed vectors, then the cameras.
struct Batch {
    // float32 [rows, k * dim] of a vector; uint8 [rows, k * 3, H, W] or [rows, H, W, k * 3] of a camera
    std::vector<std::uint8_t*> obs;
    // Same shapes: the observation that ended the episode, where one ended. Empty where not wanted.
    std::vector<std::uint8_t*> final_obs;
    float* reward = nullptr;  // [rows]
    std::uint8_t *terminated = nullptr, *truncated = nullptr, *success = nullptr,
                 *diverged = nullptr;       // [rows]
    std::int64_t* elapsed_steps = nullptr;  // [rows] of the episode that ended, else 0
    double* episode_return = nullptr;       // [rows] of the episode that ended, else 0
};

struct EnvState {
    StateEntries entries;
    std::int64_t elapsed_steps = 0;
    double episode_return = 0.0;
    bool needs_reset = false;
};

// How an episode is to start; neither: the environment's own stream goes on.
struct ResetRequest {
    int env = 0;
    std::optional<Pcg64::Words> seed;
    const double* start = nullptr;  // [start_dim]
};

}  // namespace ibrl
