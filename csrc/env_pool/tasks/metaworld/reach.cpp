// Move the hand to a place in the air. Source: metaworld 3.1.1, SawyerReachEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

class Reach final : public SawyerEnv {
  public:
    Reach(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          object_(body("obj")),
          object_geom_(find_id(model(), mjOBJ_GEOM, "objGeom")),
          goal_(site("goal")) {}

  protected:
    bool accepts(const double* rv) const override { return norm2(rv[0] - rv[3], rv[1] - rv[4]) >= 0.15; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[3], rv[4], rv[5]};
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        set_positions(9, rv, 3, 9, 6);
        edit_model(rv);
        max_reach_distance_ = distance3(init_tcp_.data(), target_pos_.data());
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(object_), 3, frame + 4);
        quaternion_from_matrix(data_->geom_xmat + 9 * object_geom_, frame + 7);
    }

    Evaluation evaluate(const double*, const float*, bool want_reward) const override {
        const double to_target = distance3(tcp_center().data(), target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.05;
        if (want_reward) {
            const double margin = distance3(spec_.hand_init.data(), target_pos_.data());
            result.reward = 10.0 * long_tail_tolerance(to_target, 0.0, 0.05, margin);
        }
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxReachDist", &max_reach_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

  private:
    int object_, object_geom_, goal_;
    double max_reach_distance_ = 0.0, obj_init_angle_ = 0.3;
};

}  // namespace

SawyerTask reach_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_reach_v3.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.6, 0.02, -0.1, 0.8, 0.05},
                    .random_high = {0.1, 0.7, 0.02, 0.1, 0.9, 0.3},
                    .goal_low = {-0.1, 0.8, 0.05},
                    .goal_high = {0.1, 0.9, 0.3}};
    return {spec, true, make_sawyer<Reach>};
}

}  // namespace ibrl::metaworld
