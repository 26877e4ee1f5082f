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
    double reward = 0.0;  // the task's dense reward
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

struct VectorInfo {
    std::string name;
    int dim;
};

class Env {
  public:
    virtual ~Env() = default;

    // What can be observed, such as "state": named vectors, and the latest value [dim] of each.
    virtual std::vector<VectorInfo> vectors() const = 0;
    virtual const double* vector(int index) const = 0;
    virtual int action_dim() const = 0;

    // Starts an episode: draws a start until the task accepts it, from the stream that seed() set, or repeats
    // the last one.
    virtual void reset(bool repeats_start) = 0;
    virtual void seed(const Pcg64::Words& words) = 0;

    // Length of the vector that decides a start, and one given by the caller for the next reset that repeats
    // its start: it must be one that the task accepts.
    virtual int start_dim() const = 0;
    virtual bool accepts_start(const double* start) const = 0;
    virtual void set_start(const double* start) = 0;

    // Work ahead of the next reset, whose result it never changes. plan_reset begins it, on the thread that
    // owns the environment; where it says true, some thread is to call prepare_reset, which does one short
    // piece of it and may run beside everything else, until that says false.
    virtual bool plan_reset(bool /*repeats_start*/) { return false; }
    virtual bool prepare_reset() { return false; }

    // One simulation step with action [action_dim] in [-1, 1]; false if the physics became unstable.
    virtual bool step(const float* action, bool want_reward, Evaluation* evaluation) = 0;

    // The complete state; set_state expects what get_state gave for the same task.
    virtual StateEntries get_state() const = 0;
    virtual void set_state(const StateEntries& entries) = 0;

    // For rendering: positions of everything are up to date.
    virtual const mjModel* model() const = 0;
    virtual mjData* data() = 0;
};

}  // namespace ibrl
