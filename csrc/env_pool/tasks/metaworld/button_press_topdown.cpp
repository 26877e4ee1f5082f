// Press a button from above. Source: metaworld 3.1.1, SawyerButtonPressTopdownEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

class ButtonPressTopdown final : public SawyerEnv {
  public:
    ButtonPressTopdown(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          box_(body("box")),
          button_(body("button")),
          hole_(site("hole")),
          start_site_(site("buttonStart")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override { set_body_pos(box_, {rv[0], rv[1], rv[2]}); }

    void place(const double* rv) override {
        edit_model(rv);
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        forward();
        std::copy_n(site_position(hole_), 3, target_pos_.begin());
        press_distance_ = max_distance_ = std::abs(target_pos_[2] - site_position(start_site_)[2]);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(button_), 3, frame + 4);
        frame[6] += 0.193;
        std::copy_n(data_->xquat + 4 * button_, 4, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* button = obs + 4;
        const double to_target = std::abs(target_pos_[2] - button[2]);
        Evaluation result;
        result.success = to_target <= 0.024;
        if (!want_reward) return result;

        // A closed gripper near the button, then the button pressed.
        const double reach = distance3(button, tcp_center().data());
        const double near = long_tail_tolerance(reach, 0.0, 0.01, distance3(button, init_tcp_.data()));
        result.reward = 5.0 * hamacher_product(1.0 - obs[3], near).value;
        if (reach <= 0.03) {
            result.reward += 5.0 * long_tail_tolerance(to_target, 0.0, 0.005, press_distance_);
        }
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"_obj_to_target_init", &press_distance_, 1, true});
        list->push_back({"maxDist", &max_distance_, 1, true});
    }

  private:
    int box_, button_, hole_, start_site_;
    double press_distance_ = 0.0, max_distance_ = 0.0;
};

}  // namespace

SawyerTask button_press_topdown_task() {
    const double hand_height = 0.2f, hand_y = 0.4f;  // published as float32
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_button_press_topdown.xml",
                    .hand_low = {-0.5, 0.40, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, hand_y, hand_height},
                    .random_low = {-0.1, 0.8, 0.115},
                    .random_high = {0.1, 0.9, 0.115},
                    .goal_low = {-0.5, 0.40, 0.05},
                    .goal_high = {0.5, 1.0, 0.5}};
    return {spec, true, make_sawyer<ButtonPressTopdown>};
}

}  // namespace ibrl::metaworld
