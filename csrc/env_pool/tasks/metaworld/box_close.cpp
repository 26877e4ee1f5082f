// Put a lid on a box. Source: metaworld 3.1.1, SawyerBoxCloseEnvV3.
#include <algorithm>
#include <limits>

#include "env_pool/tasks/metaworld/lift_marks.h"
#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

constexpr double kObjectHeight = 0.02f;  // published as float32, m

class BoxClose final : public SawyerEnv {
  public:
    BoxClose(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          box_(body("boxbody")),
          lid_(body("top_link")),
          goal_(site("goal")),
          handle_(find_id(model(), mjOBJ_GEOM, "BoxHandleGeom")) {}

  protected:
    bool accepts(const double* rv) const override { return start_to_goal(rv) >= 0.25; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[3], rv[4], rv[5]};
        set_body_pos(box_, {rv[3], rv[4], 0.0});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        // The box jumps to its place, the scene reacts for a moment, then the lid is set down beside it.
        edit_model(rv);
        obj_init_pos_ = {rv[0], rv[1], kObjectHeight};
        substeps(kFrameSkip);
        put_object();
        lift_.note(data_->geom_xpos[3 * handle_ + 2], obj_init_pos_, target_pos_.data());
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(lid_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * lid_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        Evaluation result;
        result.success = distance3(obs + 4, target_pos_.data()) < 0.08;
        if (!want_reward) return result;

        // Lying flat scales everything, so that flipping the lid onto the box does not pay.
        const double flatness = orientation_match(obs + 7, {0.707, 0.0, 0.0, 0.707}, 0.2);
        if (result.success) {
            result.reward = 10.0 * flatness;
            return result;
        }

        // Approach the handle from above: a funnel that opens upwards.
        const double lid[3] = {obs[4], obs[5], obs[6] + 0.02};
        const double floor = funnel_height(norm2(obs[0] - lid[0], obs[1] - lid[1]), 0.02, 0.04, 0.4);
        const double above = above_funnel(obs[2], floor, floor / 2.0);
        const double at_handle = long_tail_tolerance(distance3(obs, lid), 0.0, 0.02, 0.5);
        const Scalar ready = hamacher_product(above, at_handle);

        // Closing the gripper, in float32 up to here.
        const double grab = gripper_closure(action);

        // Lid onto box.
        const double to_target = scaled_distance3(target_pos_.data(), lid, {1.0, 1.0, 3.0});
        const double lifted = 0.2 * (lid[2] > 0.04) + 0.8 * long_tail_tolerance(to_target, 0.0, 0.05, 0.25);
        result.reward = (2.0 * hamacher_product(grab, ready).value + 8.0 * lifted) * flatness;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"_target_to_obj_init", &unset_, 1, true});
        lift_.list_all(list);
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
        list->push_back({"pickCompleted", &pick_completed_, 1, true});
    }

  private:
    int box_, lid_, goal_, handle_;
    double unset_ = std::numeric_limits<double>::quiet_NaN();
    LiftMarks lift_{.threshold = 0.12};
    double obj_init_angle_ = 0.3, pick_completed_ = 0.0;
};

}  // namespace

SawyerTasks box_close_tasks() {
    return {
        {.name = "box-close",
         .spec = {.model_path = "sawyer_xyz/sawyer_box.xml",
                  .hand_init = kHandInitSingle,
                  .random_low = {-0.05, 0.5, 0.02, -0.1, 0.7, 0.133},
                  .random_high = {0.05, 0.55, 0.02, 0.1, 0.8, 0.133},
                  .goal_low = {-0.1, 0.7, 0.133},
                  .goal_high = {0.1, 0.8, 0.133}},
         .settles_alike = false,
         .make = make_sawyer<BoxClose>},
    };
}

}  // namespace ibrl::metaworld
