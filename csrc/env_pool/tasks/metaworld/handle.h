// A handle that slides up and down in the front of a box: what the tasks that press or pull it share.
#pragma once

#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {

class Handle : public SawyerEnv {
  public:
    struct Parts {
        const char* handle;              // the site that is observed
        const char* goal;                // the site on the box where it shall go
        double start;                    // of the slide, m
        bool has_target_reward = false;  // whether the published task keeps this attribute
    };

    Handle(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
           const Parts& parts);

  protected:
    bool accepts(const double*) const override { return true; }
    void edit_model(const double* rv) override { set_body_pos(box_, {rv[0], rv[1], rv[2]}); }
    void place(const double* rv) override;
    void observe_objects(double* frame) const override;
    void list_attributes(std::vector<Attribute>* list) override;

    int handle_start_;
    Vec3 handle_init_pos_{};
    double max_distance_ = 0.0;

  private:
    Parts parts_;
    int box_, handle_, goal_;
    double target_reward_ = 0.0;
};

// Pressed down by a hand that need not hold it.
class HandlePress final : public Handle {
  public:
    using Handle::Handle;

  protected:
    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override;
    void list_attributes(std::vector<Attribute>* list) override;
};

// Pulled up by a closed gripper; tasks differ in how they measure the way.
class HandlePull : public Handle {
  public:
    using Handle::Handle;

  protected:
    static constexpr double kGoalRadius = 0.05;  // m

    struct Progress {
        double to_target, start_to_target;  // m
        bool is_lifted;
        Caging caging;
    };
    double pull_reward(const double* obs, const float* action, const Progress& progress) const;
};

}  // namespace ibrl::metaworld
