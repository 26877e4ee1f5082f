// What the pool asks of one environment. Implementations know one task; they know nothing of threads, limits
// or pixels.
#pragma once

#include <mujoco/mujoco.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "env_pool/pcg64.h"

namespace ibrl {

// Outcome of one simulation step.
struct Evaluation {
    double reward = 0.0;  // the published dense reward
    bool success = false;
};

// A named piece of the environment's state, in the layout that all backends share; no shape means a scalar.
struct StateEntry {
    enum class Kind { float64, int64, uint64 };
    std::string name;
    Kind kind = Kind::float64;
    std::vector<std::ptrdiff_t> shape;
    std::vector<double> values;
    std::vector<std::uint64_t> words;  // instead of values for Kind::uint64
};
using StateEntries = std::vector<StateEntry>;

class Env {
  public:
    virtual ~Env() = default;

    virtual int observation_dim() const = 0;
    virtual int action_dim() const = 0;

    // Starts an episode: draws a start and goal until the task accepts them, from the stream that seed() set.
    // With frozen draws the last random vector is repeated.
    virtual void reset(bool frozen) = 0;
    virtual void seed(const Pcg64::Words& words) = 0;

    // Length of the random vector that decides a start and goal, and one given by the caller for the next
    // frozen reset, which must be one that the task accepts.
    virtual int rand_vec_dim() const = 0;
    virtual bool accepts_rand_vec(const double* rand_vec) const = 0;
    virtual void set_rand_vec(const double* rand_vec) = 0;

    // Work ahead of the next reset, whose result it never changes. plan_reset begins it, on the thread that
    // owns the environment; where it says true, some thread is to call prepare_reset, which does one short
    // piece of it and may run beside everything else, until that says false.
    virtual bool plan_reset(bool /*frozen*/) { return false; }
    virtual bool prepare_reset() { return false; }

    // One simulation step with action [action_dim] in [-1, 1]; false if the physics became unstable.
    virtual bool step(const float* action, bool want_reward, Evaluation* evaluation) = 0;

    // Latest observation [observation_dim].
    virtual const double* observation() const = 0;

    // The complete state; set_state expects what get_state gave for the same task.
    virtual StateEntries get_state() const = 0;
    virtual void set_state(const StateEntries& entries) = 0;

    // For rendering: positions of everything are up to date.
    virtual const mjModel* model() const = 0;
    virtual mjData* data() = 0;
};

}  // namespace ibrl
