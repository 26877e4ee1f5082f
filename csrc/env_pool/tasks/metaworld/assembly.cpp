// Put a wrench's ring over a peg. Source: metaworld 3.1.1, SawyerNutAssemblyEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

class Assembly final : public SawyerEnv {
  public:
    Assembly(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          nut_(body("RoundNut")),
          peg_(body("peg")),
          handle_site_(site("RoundNut-8")),
          center_site_(site("RoundNut")),
          top_site_(site("pegTop")) {}

  protected:
    bool accepts(const double* rv) const override { return norm2(rv[0] - rv[3], rv[1] - rv[4]) >= 0.1; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[3], rv[4], rv[5]};
        set_body_pos(peg_, {rv[3], rv[4], rv[5] - 0.05});
        set_site_pos(top_site_, target_pos_);
    }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        set_positions(9, rv, 3, 9, 6);
        edit_model(rv);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(handle_site_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * nut_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        // Success: the ring's centre is within 2 cm of the peg's axis and below its top.
        const double* center = site_position(center_site_);
        double error[3] = {target_pos_[0] - center[0], target_pos_[1] - center[1],
                           target_pos_[2] - center[2]};
        const double radius = norm2(error[0], error[1]);
        Evaluation result;
        result.success = radius < 0.02 && error[2] > 0.0;
        if (!want_reward) return result;
        if (result.success) {
            result.reward = 10.0;
            return result;
        }

        // Placing: a funnel over the peg, plus a little for lifting at all.
        const double threshold = 0.01;
        const double height = radius > threshold ? 0.02 * std::log(radius - threshold) + 0.2 : 0.0;
        error[2] = (height - center[2]) * 3.0;
        const bool lifted = center[2] > 0.02 || radius < threshold;
        const Scalar in_place = 0.1 * lifted + 0.9 * long_tail_tolerance(norm3(error), 0.0, 0.02, 0.4);

        // Grasping: anywhere along the handle is as good.
        double wrench[3] = {obs[4], obs[5], obs[6]};
        if (std::abs(wrench[0] - obs[0]) < 0.01) wrench[0] = obs[0];
        const Scalar grab = caging_reward(action, wrench,
                                          {.obj_radius = 0.015,
                                           .pad_success_thresh = 0.02,
                                           .object_reach_radius = 0.01,
                                           .xz_thresh = 0.01,
                                           .medium_density = true});

        // Lying flat scales it all.
        const double ideal[4] = {0.707, 0.0, 0.0, 0.707};
        double squares = 0.0;
        for (int i = 0; i < 4; ++i) squares += (obs[7 + i] - ideal[i]) * (obs[7 + i] - ideal[i]);
        const double flatness = std::max(1.0 - std::sqrt(squares) / 0.4, 0.0);
        result.reward = ((Scalar(2.0) * grab + Scalar(6.0) * in_place) * Scalar(flatness)).value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

  private:
    int nut_, peg_, handle_site_, center_site_, top_site_;
    double obj_init_angle_ = 0.3;
};

}  // namespace

SawyerTask assembly_task() {
    const double hand_height = 0.2f, hand_y = 0.6f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_assembly_peg.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, hand_y, hand_height},
                    .random_low = {0.0, 0.6, 0.02, -0.1, 0.75, 0.1},
                    .random_high = {0.0, 0.6, 0.02, 0.1, 0.85, 0.1},
                    .goal_low = {-0.1, 0.75, 0.1},
                    .goal_high = {0.1, 0.85, 0.1}};
    return {spec, true, make_sawyer<Assembly>};
}

}  // namespace ibrl::metaworld
