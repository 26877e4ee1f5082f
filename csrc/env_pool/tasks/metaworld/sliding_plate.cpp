// A plate on two slides that is moved into a goal, or out of one.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

class SlidingPlate final : public SawyerEnv {
  public:
    enum class Cage { stays, at_target, at_start };  // where a reset puts the goal's walls

    struct Parts {
        std::array<double, 2> start;  // of the slides, m
        Cage cage = Cage::stays;
        bool is_measured_at_plate = false;  // whether the way to the goal starts at the plate, or at the draw
        bool is_held_down = true;           // whether moving the plate pays only under a low hand
    };

    // Hand and workspace, alike in all four; models and draws differ.
    static SawyerSpec make_spec(const char* model_path, const Vec3& start, const Vec3& goal_low,
                                const Vec3& goal_high) {
        return {.model_path = model_path,
                .hand_init = kHandInitSingle,
                .random_low = {start[0], start[1], start[2], goal_low[0], goal_low[1], goal_low[2]},
                .random_high = {start[0], start[1], start[2], goal_high[0], goal_high[1], goal_high[2]},
                .goal_low = goal_low,
                .goal_high = goal_high};
    }

    SlidingPlate(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
                 const Parts& parts)
        : SawyerEnv(std::move(base), spec, settled),
          parts_(parts),
          plate_(find_id(model(), mjOBJ_GEOM, "puck")),
          cage_(body("puck_goal")),
          goal_(site("goal")) {}

  protected:
    bool accepts(const double*) const override { return true; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[3], rv[4], rv[5]};
        if (parts_.cage == Cage::at_target) set_body_pos(cage_, target_pos_);
        if (parts_.cage == Cage::at_start) set_body_pos(cage_, {rv[0], rv[1], rv[2]});
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        // The plate jumps; its speed stays as it was.
        obj_init_pos_ = {rv[0], rv[1], rv[2]};
        edit_model(rv);
        set_positions(kArmJoints, parts_.start.data(), 2, kArmJoints, 0);
        const double* start =
            parts_.is_measured_at_plate ? data_->geom_xpos + 3 * plate_ : obj_init_pos_.data();
        max_distance_ = norm2(start[0] - target_pos_[0], start[1] - target_pos_[1]);
    }

    void observe_objects(double* frame) const override {
        std::copy_n(data_->geom_xpos + 3 * plate_, 3, frame + 4);
        quaternion_from_matrix(data_->geom_xmat + 9 * plate_, frame + 7);
    }

    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override {
        constexpr double kRadius = 0.05;  // of the goal and of the plate, m
        const double* plate = obs + 4;
        const double to_target = distance3(plate, target_pos_.data());
        Evaluation result;
        result.success = to_target <= 0.07;
        if (!want_reward) return result;
        if (to_target < kRadius) {
            result.reward = 10.0;
            return result;
        }

        const Vec3 tcp = tcp_center();
        const double reach = distance3(tcp.data(), plate);
        const double slack = parts_.is_held_down ? kRadius : 0.0;
        const double in_place = long_tail_tolerance(
            to_target, 0.0, kRadius, distance3(obj_init_pos_.data(), target_pos_.data()) - slack);
        const double reached = long_tail_tolerance(reach, 0.0, kRadius,
                                                   distance3(init_tcp_.data(), obj_init_pos_.data()) - slack);
        if (!parts_.is_held_down) {
            result.reward = 8.0 * hamacher_product(reached, in_place).value;
        } else if (tcp[2] <= 0.03 && reach < 0.07) {
            result.reward = 2.0 + 7.0 * in_place;
        } else {
            result.reward = 1.5 * reached;
        }
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"maxDist", &max_distance_, 1, true});
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

  private:
    Parts parts_;
    int plate_, cage_, goal_;
    double max_distance_ = 0.0, obj_init_angle_ = 0.3;
};

}  // namespace

SawyerTasks sliding_plate_tasks() {
    return {
        // Slide a plate ahead into a goal. Source: metaworld 3.1.1, SawyerPlateSlideEnvV3.
        {.name = "plate-slide",
         .spec = SlidingPlate::make_spec("sawyer_xyz/sawyer_plate_slide.xml", {0.0, 0.6, 0.0},
                                         {-0.1, 0.85, 0.0}, {0.1, 0.9, 0.0}),
         .settles_alike = true,
         .make = make_sawyer_from<SlidingPlate>(SlidingPlate::Parts{
             .start = {0.0, 0.0}, .cage = SlidingPlate::Cage::at_target, .is_held_down = false})},
        // Slide a plate back out of a goal. Source: metaworld 3.1.1, SawyerPlateSlideBackEnvV3.
        {.name = "plate-slide-back",
         .spec = SlidingPlate::make_spec("sawyer_xyz/sawyer_plate_slide.xml", {0.0, 0.85, 0.0},
                                         {-0.1, 0.6, 0.015}, {0.1, 0.6, 0.015}),
         .settles_alike = true,
         .make = make_sawyer_from<SlidingPlate>(
             SlidingPlate::Parts{.start = {0.0, 0.15}, .is_measured_at_plate = true})},
        // Slide a plate to the right out of a goal. Source: metaworld 3.1.1, SawyerPlateSlideBackSideEnvV3.
        {.name = "plate-slide-back-side",
         .spec = SlidingPlate::make_spec("sawyer_xyz/sawyer_plate_slide_sideway.xml", {-0.25, 0.6, 0.0},
                                         {-0.05, 0.6, 0.015}, {0.15, 0.6, 0.015}),
         .settles_alike = true,
         .make = make_sawyer_from<SlidingPlate>(SlidingPlate::Parts{
             .start = {-0.15, 0.0}, .cage = SlidingPlate::Cage::at_start, .is_measured_at_plate = true})},
        // Slide a plate to the left into a goal. Source: metaworld 3.1.1, SawyerPlateSlideSideEnvV3.
        {.name = "plate-slide-side",
         .spec = SlidingPlate::make_spec("sawyer_xyz/sawyer_plate_slide_sideway.xml", {0.0, 0.6, 0.0},
                                         {-0.3, 0.54, 0.0}, {-0.25, 0.66, 0.0}),
         .settles_alike = true,
         .make = make_sawyer_from<SlidingPlate>(SlidingPlate::Parts{.start = {0.0, 0.0}})},
    };
}

}  // namespace ibrl::metaworld
