// Pull a thermos by pushing a stick through its handle. Source: metaworld 3.1.1, SawyerStickPullEnvV3.
#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

constexpr double kStickHeight = 0.02;  // m

class StickPull final : public SawyerEnv {
  public:
    StickPull(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          stick_(body("stick")),
          object_(body("object")),
          insertion_(site("insertion")),
          stick_end_(site("stick_end")),
          goal_(site("goal")) {}

  protected:
    bool accepts(const double* rv) const override { return norm2(rv[0] - rv[3], rv[1] - rv[4]) >= 0.1; }

    void edit_model(const double* rv) override {
        target_pos_ = {rv[3], rv[4], kStickHeight};
        set_site_pos(goal_, target_pos_);
    }

    void place(const double* rv) override {
        stick_init_pos_ = {rv[0], rv[1], kStickHeight};
        set_positions(9, stick_init_pos_.data(), 3, 9, 6);
        set_positions(16, obj_init_qpos_.data(), 2, 16, 1);
        std::copy_n(body_position(object_), 3, obj_init_pos_.begin());
        edit_model(rv);

        stick_height_ = body_position(stick_)[2];
        height_target_ = stick_height_ + lift_threshold_;
        max_pull_distance_ = norm2(obj_init_pos_[0] - target_pos_[0], obj_init_pos_[1] - target_pos_[1]);
        const double lifted[3] = {obj_init_pos_[0], obj_init_pos_[1], height_target_};
        max_place_distance_ = distance3(lifted, stick_init_pos_.data()) + height_target_;
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(stick_), 3, frame + 4);
        quaternion_from_matrix(data_->xmat + 9 * stick_, frame + 7);
        std::copy_n(site_position(insertion_), 3, frame + 11);
    }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double *stick = obs + 4, *handle = obs + 11, *end = site_position(stick_end_);
        const double* target = target_pos_.data();
        const bool inserted = end[0] >= handle[0] && std::abs(end[1] - handle[1]) <= 0.040 &&
                              std::abs(end[2] - handle[2]) <= 0.060;
        const double handle_to_target = distance3(handle, target);
        Evaluation result;
        result.success = handle_to_target <= 0.12 && inserted;
        if (!want_reward) return result;

        // Stick to the container's opening; heights count twice.
        const double container[3] = {handle[0] + 0.05, handle[1], handle[2]};
        const double to_container[3] = {stick[0] - container[0], stick[1] - container[1],
                                        (stick[2] - container[2]) * 2.0};
        const double container_start[3] = {stick_init_pos_[0] - (obj_init_pos_[0] + 0.05),
                                           stick_init_pos_[1] - obj_init_pos_[1],
                                           (stick_init_pos_[2] - obj_init_pos_[2]) * 2.0};
        const Scalar in_place = long_tail_tolerance(norm3(to_container), 0.0, 0.05, norm3(container_start));

        // Grasping the stick.
        Scalar grasped = caging_reward(action, stick,
                                       {.obj_radius = 0.014,
                                        .pad_success_thresh = 0.05,
                                        .object_reach_radius = 0.01,
                                        .xz_thresh = 0.01,
                                        .high_density = true});
        const bool held = distance3(stick, tcp_center().data()) < 0.02 && obs[3] > 0.0 &&
                          stick[2] - 0.01 > stick_init_pos_[2];
        if (held) grasped = 1.0;
        const Scalar grasped_in_place = hamacher_product(grasped, in_place);
        Scalar reward = grasped_in_place;
        if (held) reward = Scalar(1.0) + grasped_in_place + Scalar(5.0) * in_place;

        // Pulling the container.
        if (held && inserted) {
            const double stick_at_target = long_tail_tolerance(distance3(stick, target), 0.0, 0.05,
                                                               distance3(stick_init_pos_.data(), target));
            const double container_at_target = long_tail_tolerance(distance3(container, target), 0.0, 0.05,
                                                                   distance3(obj_init_pos_.data(), target));
            reward = Scalar(1.0) + grasped_in_place + Scalar(5.0) + Scalar(2.0 * stick_at_target) +
                     Scalar(container_at_target);
            if (handle_to_target <= 0.12) reward = 10.0;
        }
        result.reward = reward.value;
        return result;
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"heightTarget", &height_target_, 1, true});
        list->push_back({"liftThresh", &lift_threshold_, 1, true});
        list->push_back({"maxPlaceDist", &max_place_distance_, 1, true});
        list->push_back({"maxPullDist", &max_pull_distance_, 1, true});
        list->push_back({"obj_init_qpos", obj_init_qpos_.data(), 2});
        list->push_back({"stickHeight", &stick_height_, 1, true});
        list->push_back({"stick_init_pos", stick_init_pos_.data(), 3});
    }

  private:
    int stick_, object_, insertion_, stick_end_, goal_;
    std::array<double, 2> obj_init_qpos_{0.0, 0.09};
    Vec3 stick_init_pos_{};
    double height_target_ = 0.0, lift_threshold_ = 0.04, max_place_distance_ = 0.0, max_pull_distance_ = 0.0;
    double stick_height_ = 0.0;
};

}  // namespace

SawyerTask stick_pull_task() {
    SawyerSpec spec{.model_path = "sawyer_xyz/sawyer_stick_obj.xml",
                    .hand_low = {-0.5, 0.35, 0.05},
                    .hand_high = {0.5, 1.0, 0.5},
                    .hand_init = {0.0, 0.6, 0.2},
                    .random_low = {-0.1, 0.55, 0.000, 0.35, 0.45, 0.0199},
                    .random_high = {0.0, 0.65, 0.001, 0.45, 0.55, 0.0201},
                    .goal_low = {0.35, 0.45, 0.0199},
                    .goal_high = {0.45, 0.55, 0.0201}};
    return {spec, true, make_sawyer<StickPull>};
}

}  // namespace ibrl::metaworld
