// The whole state of a robosuite environment, in the layout of ibrl_fast/envs/robosuite/state.py.
#include <algorithm>
#include <stdexcept>

#include "env_pool/tasks/robosuite/panda_env.h"

namespace ibrl::robosuite {

StateEntries PandaEnv::get_state() const {
    using Kind = StateEntry::Kind;
    std::vector<double> physics(mj_stateSize(model(), mjSTATE_INTEGRATION));
    mj_getState(model(), data_.get(), physics.data(), mjSTATE_INTEGRATION);
    const auto words = rng_.words();

    StateEntries entries;
    const auto add = [&entries](const char* name, const auto& values) {
        const auto size = static_cast<std::ptrdiff_t>(values.size());
        entries.push_back({name, Kind::float64, {size}, {values.begin(), values.end()}, {}});
    };
    add("physics", physics);
    add("kinematics_qpos", kinematics_qpos_);
    add("gripper_action", gripper_.command());
    add("initial_joint", controller_.posture());
    entries.push_back({"control_steps", Kind::int64, {}, {static_cast<double>(control_steps_)}, {}});
    if (model_entry() != nullptr) add(model_entry(), drawn_model_);
    entries.push_back({"rng", Kind::uint64, {words.size()}, {}, {words.begin(), words.end()}});
    add("observation", state_);
    return entries;
}

void PandaEnv::set_state(const StateEntries& entries) {
    const auto find = [&entries](const std::string& name) -> const StateEntry& {
        for (const StateEntry& entry : entries) {
            if (entry.name == name) return entry;
        }
        throw std::invalid_argument("state: expected an entry '" + name + "', found none");
    };
    const auto read = [&find](const std::string& name, auto* values) {
        std::copy_n(find(name).values.begin(), values->size(), values->begin());
    };
    if (model_entry() != nullptr) {
        Vector<3> drawn;
        read(model_entry(), &drawn);
        set_model(drawn);
        drawn_model_ = drawn;
    }
    Pcg64::Words words;
    std::copy_n(find("rng").words.begin(), words.size(), words.begin());
    rng_.set_words(words);
    Vector<2> command;
    read("gripper_action", &command);
    gripper_.set_command(command);
    Vector<kArmJoints> posture;
    read("initial_joint", &posture);
    control_steps_ = static_cast<std::int64_t>(find("control_steps").values[0]);
    read("kinematics_qpos", &kinematics_qpos_);
    read("observation", &state_);

    // Before the first step of an episode the controller holds what it read in the reset.
    place_arm(posture);
    if (control_steps_ > 0) controller_.resume(posture);

    // Positions of everything are those that were observed; the next step computes its own from the state.
    mjData* d = data_.get();
    const double* physics = find("physics").values.data();
    mj_resetData(model(), d);
    mj_setState(model(), d, physics, mjSTATE_INTEGRATION);
    std::copy(kinematics_qpos_.begin(), kinematics_qpos_.end(), d->qpos);
    mj_forward(model(), d);
    mj_setState(model(), d, physics, mjSTATE_INTEGRATION);
    for (mjWarningStat& warning : d->warning) warning.number = 0;
}

}  // namespace ibrl::robosuite
