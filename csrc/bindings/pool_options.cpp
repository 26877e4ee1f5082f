#include "bindings/pool_options.h"

#include <pybind11/stl.h>

#include <set>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace ibrl::bindings {
namespace {

// Reads each option once; what nobody has read is unknown.
class Reader {
  public:
    explicit Reader(const py::dict& given) : given_(given) {}

    template <typename T>
    void operator()(const char* name, T& value) {
        if (!given_.contains(name))
            throw std::invalid_argument(std::string(name) + ": expected it, got none");
        try {
            value = py::cast<T>(given_[name]);
        } catch (const py::cast_error&) {
            throw std::invalid_argument(std::string(name) + ": expected another type, got " +
                                        std::string(py::repr(given_[name])));
        }
        read_.insert(name);
    }

    void check_all_read() const {
        for (const auto& [key, value] : given_) {
            const auto name = py::cast<std::string>(key);
            if (!read_.contains(name)) throw std::invalid_argument(name + ": expected no such option");
        }
    }

  private:
    const py::dict& given_;
    std::set<std::string> read_;
};

Autoreset parse_autoreset(const std::string& name) {
    if (name == "same_step") return Autoreset::same_step;
    if (name == "next_step") return Autoreset::next_step;
    if (name == "disabled") return Autoreset::disabled;
    throw std::invalid_argument("autoreset: expected same_step, next_step or disabled, got " + name);
}

}  // namespace

PoolOptions read_pool_options(const py::dict& given) {
    PoolOptions options;
    RenderOptions& render = options.render;
    std::string reward, autoreset;
    Reader read(given);
    read("task", options.task);
    read("assets", options.assets);
    read("num_envs", options.num_envs);
    read("num_threads", options.num_threads);
    read("action_repeat", options.action_repeat);
    read("max_episode_steps", options.max_episode_steps);
    read("reward", reward);
    read("terminate_on_success", options.terminate_on_success);
    read("fixed_goals", options.fixed_goals);
    read("autoreset", autoreset);
    read("settle_ahead", options.settle_ahead);
    read("vectors", options.vectors);
    read("cameras", render.cameras);
    read("stacks", options.stacks);
    read("camera_positions", options.camera_positions);
    read("camera_quaternions", options.camera_quaternions);
    read("image_size", render.image_size);
    read("channels_last", render.channels_last);
    read("shadows", render.shadows);
    read("shadow_size", render.shadow_size);
    read("multisample", render.multisample);
    read("render_platform", render.platform);
    read("render_device", render.device);
    read.check_all_read();
    options.dense = reward == "dense";
    options.autoreset = parse_autoreset(autoreset);
    return options;
}

}  // namespace ibrl::bindings
