// What a pool is asked for: ibrl_fast/envs/options.py says what each option means, and bindings/pool_options.cpp
// reads them by name.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "env_pool/renderer.h"

namespace ibrl {

enum class Autoreset { same_step, next_step, disabled };

struct PoolOptions {
    std::string task, assets;
    int num_envs = 1, num_threads = 1;
    int action_repeat = 1, max_episode_steps = 1;
    bool dense = false, terminate_on_success = true, fixed_goals = false;
    Autoreset autoreset = Autoreset::same_step;
    bool settle_ahead = false;  // threads without a job prepare coming resets; at least one is there for it
    std::vector<std::string> vectors;  // observed, by name
    RenderOptions render;              // its cameras are observed after the vectors
    std::vector<int> stacks;           // frames in an observation of each vector and camera
    std::map<std::string, std::array<double, 3>> camera_positions;    // m
    std::map<std::string, std::array<double, 4>> camera_quaternions;  // w, x, y, z
};

}  // namespace ibrl
