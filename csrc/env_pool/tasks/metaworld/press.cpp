// Buttons that move along one axis, rewarded for being reached and pressed.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

class Press : public SawyerEnv {
  public:
    // The numbers in which button tasks differ, metres.
    struct Button {
        int axis;               // along which the button moves
        double success_within;  // of the target
        double near_within;     // the gripper's distance that counts as at the button
        double press_within;    // the gripper's distance from which on pressing counts
        double near_weight;     // of 10; the rest is for pressing
    };

    Press(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
          const Button& button)
        : SawyerEnv(std::move(base), spec, settled), button_(button) {}

  protected:
    bool accepts(const double*) const override { return true; }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        const double* tip = obs + 4;
        const double left = std::abs(target_pos_[button_.axis] - tip[button_.axis]);
        Evaluation result;
        result.success = left <= button_.success_within;
        if (!want_reward) return result;
        const double distance = distance3(tip, tcp_center().data());
        const double start = distance3(tip, init_tcp_.data());
        const double near = long_tail_tolerance(distance, 0.0, button_.near_within, start);
        const double pressed = long_tail_tolerance(left, 0.0, 0.005, press_distance_);
        result.reward = reward(obs[3], distance, near, pressed);
        return result;
    }

    // Of the gripper's opening, its distance to the button (m), and how near and how pressed in [0, 1]: an
    // open gripper near the button, then the button pressed.
    virtual double reward(double opening, double distance, double near, double pressed) const {
        const double ready = button_.near_weight * hamacher_product(opening, near).value;
        return distance <= button_.press_within ? ready + (10.0 - button_.near_weight) * pressed : ready;
    }

    const Button button_;
    double press_distance_ = 0.0;  // m from the untouched button to the target
};

// From the front, as buttons are meant to be pressed.
constexpr Press::Button kFrontPress = {
    .axis = 1, .success_within = 0.02, .near_within = 0.05, .press_within = 0.05, .near_weight = 2.0};

// The button of a box that a draw moves.
class BoxButton : public Press {
  public:
    BoxButton(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
              const Button& button)
        : Press(std::move(base), spec, settled, button),
          box_(body("box")),
          tip_(body("button")),
          hole_(site("hole")),
          start_(site("buttonStart")) {}

  protected:
    // After the box has moved: the forward pass, with or without the button released.
    virtual void update_button() = 0;
    virtual double face() const = 0;  // m along the axis from the button's middle to what is pressed

    void edit_model(const double* rv) override { set_body_pos(box_, {rv[0], rv[1], rv[2]}); }

    void place(const double* rv) override {
        edit_model(rv);
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        update_button();
        std::copy_n(site_position(hole_), 3, target_pos_.begin());
        press_distance_ = max_distance_ = start_to_target(button_.axis);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(tip_), 3, frame + 4);
        frame[4 + button_.axis] += face();
        std::copy_n(data_->xquat + 4 * tip_, 4, frame + 7);
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"_obj_to_target_init", &press_distance_, 1, true});
        list->push_back({"maxDist", &max_distance_, 1, true});
    }

    double start_to_target(int axis) const {
        return std::abs(target_pos_[axis] - site_position(start_)[axis]);
    }

    double max_distance_ = 0.0;

  private:
    int box_, tip_, hole_, start_;
};

// Pressed from the front.
class FrontButton : public BoxButton {
  public:
    using BoxButton::BoxButton;

  protected:
    void update_button() override {
        const double released = 0.0;
        set_positions(kArmJoints, &released, 1, kArmJoints, 1);
    }

    double face() const override { return -0.193; }
};

// Pressed from above.
class TopButton : public BoxButton {
  public:
    TopButton(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : BoxButton(std::move(base), spec, settled,
                    {.axis = 2,
                     .success_within = 0.024,
                     .near_within = 0.01,
                     .press_within = 0.03,
                     .near_weight = 5.0}) {}

  protected:
    void update_button() override { forward(); }

    double face() const override { return 0.193; }
};

// Press a button from above. Source: metaworld 3.1.1, SawyerButtonPressTopdownEnvV3.
class ButtonPressTopdown final : public TopButton {
  public:
    using TopButton::TopButton;

  protected:
    // Here the gripper is to be closed.
    double reward(double opening, double distance, double near, double pressed) const override {
        return TopButton::reward(1.0 - opening, distance, near, pressed);
    }
};

// Press a button from the front, behind a wall. Source: metaworld 3.1.1, SawyerButtonPressWallEnvV3.
class ButtonPressWall final : public FrontButton {
  public:
    ButtonPressWall(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : FrontButton(std::move(base), spec, settled,
                      {.axis = 1,
                       .success_within = 0.03,
                       .near_within = 0.01,
                       .press_within = 0.07,
                       .near_weight = 2.0}) {}

  protected:
    void place(const double* rv) override {
        FrontButton::place(rv);
        max_distance_ = start_to_target(2);
    }

    // The way past the wall with a closed gripper; at the button an open one, and the button pressed.
    double reward(double opening, double distance, double near, double pressed) const override {
        if (distance > button_.press_within) {
            return button_.near_weight * hamacher_product((1.0 - opening) / 2.0, near).value;
        }
        return 2.0 + 2.0 * (1.0 + opening) + 4.0 * (pressed * pressed);
    }
};

constexpr double kPressDistance = 0.03;  // m

// Press the button of a coffee machine. Source: metaworld 3.1.1, SawyerCoffeeButtonEnvV3.
class CoffeeButton final : public Press {
  public:
    CoffeeButton(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : Press(std::move(base), spec, settled, kFrontPress),
          machine_(body("coffee_machine")),
          button_site_(site("buttonStart")) {
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
        max_distance_ = std::abs(site_position(button_site_)[1] - target_pos_[1]);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(button_site_), 3, frame + 4);
        frame[7] = 1.0;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxDist", &max_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

  private:
    int machine_, button_site_;
    double max_distance_ = 0.0, obj_init_angle_ = 0.3;
};

// The arm of all box buttons starts low over the table's front; boxes differ in where they may stand.
SawyerSpec box_button_spec(const char* model_path, const Vec3& box_low, const Vec3& box_high) {
    return {.model_path = model_path,
            .hand_init = kNearHandInitSingle,
            .random_low = {box_low.begin(), box_low.end()},
            .random_high = {box_high.begin(), box_high.end()},
            .goal_low = kHandLow,
            .goal_high = kHandHigh};
}

}  // namespace

SawyerTasks press_tasks() {
    return {
        // Press a button from the front. Source: metaworld 3.1.1, SawyerButtonPressEnvV3.
        {.name = "button-press",
         .spec =
             box_button_spec("sawyer_xyz/sawyer_button_press.xml", {-0.1, 0.85, 0.115}, {0.1, 0.9, 0.115}),
         .settles_alike = true,
         .make = make_sawyer_from<FrontButton>(kFrontPress)},
        {.name = "button-press-topdown",
         .spec = box_button_spec("sawyer_xyz/sawyer_button_press_topdown.xml", {-0.1, 0.8, 0.115},
                                 {0.1, 0.9, 0.115}),
         .settles_alike = true,
         .make = make_sawyer<ButtonPressTopdown>},
        // Press a button from above, behind a wall.
        // Source: metaworld 3.1.1, SawyerButtonPressTopdownWallEnvV3.
        {.name = "button-press-topdown-wall",
         .spec = box_button_spec("sawyer_xyz/sawyer_button_press_topdown_wall.xml", {-0.1, 0.8, 0.115},
                                 {0.1, 0.9, 0.115}),
         .settles_alike = true,
         .make = make_sawyer<TopButton>},
        {.name = "button-press-wall",
         .spec = box_button_spec("sawyer_xyz/sawyer_button_press_wall.xml", {-0.05, 0.85, 0.1149},
                                 {0.05, 0.9, 0.1151}),
         .settles_alike = true,
         .make = make_sawyer<ButtonPressWall>},
        {.name = "coffee-button",
         .spec = {.model_path = "sawyer_xyz/sawyer_coffee.xml",
                  .hand_init = kNearHandInit,
                  .random_low = {-0.1, 0.8, -0.001},
                  .random_high = {0.1, 0.9, 0.001},
                  .goal_low = {-0.1 + -0.001, 0.8 + (-0.22 + kPressDistance), -0.001 + 0.299},
                  .goal_high = {0.1 + 0.001, 0.9 + (-0.22 + kPressDistance), 0.001 + 0.301}},
         .settles_alike = true,
         .make = make_sawyer<CoffeeButton>},
    };
}

}  // namespace ibrl::metaworld
