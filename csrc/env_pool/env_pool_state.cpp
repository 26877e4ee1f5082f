// States of a pool's environments in and out, and pictures of them.
#include <algorithm>
#include <stdexcept>

#include "env_pool/env_pool.h"
#include "env_pool/mujoco_model.h"

namespace ibrl {
namespace {

// The given entries must be those of the environment, each of its size.
void check_entries(const StateEntries& expected, const StateEntries& given) {
    for (const StateEntry& entry : expected) {
        const auto found = std::find_if(given.begin(), given.end(),
                                        [&entry](const StateEntry& e) { return e.name == entry.name; });
        if (found == given.end()) {
            throw std::invalid_argument("state: expected an entry '" + entry.name + "', found none");
        }
        if (entry.kind == StateEntry::Kind::int64 && !found->values.empty() &&
            !(found->values[0] >= 0.0 && found->values[0] <= 9007199254740992.0)) {
            throw std::invalid_argument("state['" + entry.name + "']: expected a count");
        }
        if (found->values.size() == entry.values.size() && found->words.size() == entry.words.size())
            continue;
        throw std::invalid_argument("state['" + entry.name + "']: expected " +
                                    std::to_string(entry.values.size() + entry.words.size()) +
                                    " numbers, got " +
                                    std::to_string(found->values.size() + found->words.size()));
    }
}

}  // namespace

EnvState EnvPool::get_state(int env) const {
    check_idle("get_state");
    const Slot& slot = slots_.at(env);
    return {slot.env->get_state(), slot.elapsed_steps, slot.episode_return, slot.needs_reset};
}

void EnvPool::set_state(int env, const EnvState& state) {
    check_idle("set_state");
    MujocoErrorScope errors;
    Slot& slot = slots_.at(env);
    check_entries(slot.env->get_state(), state.entries);
    slot.env->set_state(state.entries);
    slot.elapsed_steps = state.elapsed_steps;
    slot.episode_return = state.episode_return;
    slot.needs_reset = state.needs_reset;
    plan_reset(&slot);
}

void EnvPool::render_frames(const std::vector<int>& envs, const std::string& camera, int size,
                            const std::string& platform, int device, std::uint8_t* pixels) {
    check_idle("render_frames");
    find_camera(factory_->model(), camera);
    RenderOptions options = options_.render;
    options.cameras = {camera};
    options.platform = platform;
    options.device = device;
    options.image_size = size;
    options.channels_last = true;
    std::vector<Env*> shown;
    for (int env : envs) shown.push_back(slots_.at(env).env.get());
    if (!video_renderer_) video_renderer_ = std::make_unique<VideoRenderer>();
    video_renderer_->render(factory_->model(), options, shown, pixels);
}

}  // namespace ibrl
