// Press the button of a coffee machine. Source: metaworld 3.1.1, SawyerCoffeeButtonEnvV3.
#include "env_pool/tasks/metaworld/press.h"

namespace ibrl::metaworld {
namespace {

constexpr double kPressDistance = 0.03;  // m

class CoffeeButton final : public Press {
  public:
    CoffeeButton(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Press(std::move(base), spec, settled, kFrontPress),
          machine_(body("coffee_machine")),
          button_(site("buttonStart")) {
        press_distance_ = kPressDistance;
    }

  protected:
    void edit_model(const double* rv) override { set_body_pos(machine_, {rv[0], rv[1], rv[2]}); }

    void place(const double* rv) override {
        edit_model(rv);
        obj_init_pos_ = {rv[0], rv[1], rv[2]};

        // The mug stands under the spout; the published code stops the arm's joints 9..14 instead of it.
        const double mug[3] = {rv[0], rv[1] + -0.22, rv[2]};
        set_positions(0, mug, 3, 9, 6);
        target_pos_ = {rv[0], rv[1] + -0.22 + kPressDistance, rv[2] + 0.3};
        max_distance_ = std::abs(site_position(button_)[1] - target_pos_[1]);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(button_), 3, frame + 4);
        frame[7] = 1.0;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxDist", &max_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

  private:
    int machine_, button_;
    double max_distance_ = 0.0, obj_init_angle_ = 0.3;
};

}  // namespace

SawyerTask coffee_button_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_coffee.xml",
                    .hand_low = {-0.5, 0.4, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.4, 0.2},
                    .random_low = {-0.1, 0.8, -0.001},
                    .random_high = {0.1, 0.9, 0.001},
                    .goal_low = {-0.1 + -0.001, 0.8 + (-0.22 + kPressDistance), -0.001 + 0.299},
                    .goal_high = {0.1 + 0.001, 0.9 + (-0.22 + kPressDistance), 0.001 + 0.301}};
    return {spec, true, make_sawyer<CoffeeButton>};
}

}  // namespace ibrl::metaworld
