// A stick to be grasped and a thermos that it shall move.
#include <algorithm>

#include "env_pool/tasks/metaworld/suite.h"

namespace ibrl::metaworld {
namespace {

constexpr double kStickHeight = 0.02;  // m

class StickEnv : public SawyerEnv {
  public:
    struct Parts {
        std::array<double, 2> thermos_start;  // along its slides, m
        double observed_offset;               // in y from the site that is observed of it, m
        const char* distance_name;            // of the thermos to the goal, as the published task calls it
    };

    StickEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
             const Parts& parts)
        : SawyerEnv(std::move(base), spec, settled),
          stick_(body("stick")),
          thermos_(body("object")),
          insertion_(site("insertion")),
          goal_(site("goal")),
          parts_(parts) {}

  protected:
    // Height of the goal; asked once the hand has settled.
    virtual double goal_height() const = 0;

    bool accepts(const double* rv) const override { return start_to_goal(rv) >= 0.1; }

    // The goal is seen and not felt: place() knows its height.
    void edit_model(const double*) override {}

    void place(const double* rv) override {
        target_pos_ = {rv[3], rv[4], goal_height()};
        set_site_pos(goal_, target_pos_);
        stick_init_pos_ = {rv[0], rv[1], kStickHeight};
        set_positions(kArmJoints, stick_init_pos_.data(), 3, kArmJoints, 6);
        set_positions(16, parts_.thermos_start.data(), 2, 16, 1);
        std::copy_n(body_position(thermos_), 3, obj_init_pos_.begin());

        stick_height_ = body_position(stick_)[2];
        height_target_ = stick_height_ + lift_threshold_;
        max_distance_ = norm2(obj_init_pos_[0] - target_pos_[0], obj_init_pos_[1] - target_pos_[1]);
        const double lifted[3] = {obj_init_pos_[0], obj_init_pos_[1], height_target_};
        max_place_distance_ = distance3(lifted, stick_init_pos_.data()) + height_target_;
    }

    void observe_objects(double* frame) const override {
        std::copy_n(body_position(stick_), 3, frame + 4);
        quaternion_from_matrix(data_->xmat + 9 * stick_, frame + 7);
        std::copy_n(site_position(insertion_), 3, frame + 11);
        frame[12] += parts_.observed_offset;
    }

    // Whether the stick, anywhere in `stick` (m), is between the fingers and off the table.
    bool is_held(const double* obs, const double* stick) const {
        return is_at_gripper(obs, stick, 0.02) && stick[2] - 0.01 > stick_init_pos_[2];
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"heightTarget", &height_target_, 1, true});
        list->push_back({"liftThresh", &lift_threshold_, 1, true});
        list->push_back({"maxPlaceDist", &max_place_distance_, 1, true});
        list->push_back({parts_.distance_name, &max_distance_, 1, true});
        list->push_back({"obj_init_qpos", parts_.thermos_start.data(), 2});
        list->push_back({"stickHeight", &stick_height_, 1, true});
        list->push_back({"stick_init_pos", stick_init_pos_.data(), 3});
    }

    int stick_, thermos_, insertion_, goal_;
    Vec3 stick_init_pos_{};

  private:
    Parts parts_;
    double height_target_ = 0.0, lift_threshold_ = 0.04, max_place_distance_ = 0.0, max_distance_ = 0.0;
    double stick_height_ = 0.0;
};

// Pull a thermos by pushing a stick through its handle. Source: metaworld 3.1.1, SawyerStickPullEnvV3.
class StickPull final : public StickEnv {
  public:
    StickPull(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : StickEnv(std::move(base), spec, settled,
                   {.thermos_start = {0.0, 0.09}, .observed_offset = 0.0, .distance_name = "maxPullDist"}),
          stick_end_(site("stick_end")) {}

  protected:
    double goal_height() const override { return kStickHeight; }

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
        const double container_start[3] = {obj_init_pos_[0] + 0.05, obj_init_pos_[1], obj_init_pos_[2]};
        const double scale[3] = {1.0, 1.0, 2.0};
        const double in_place =
            long_tail_tolerance(scaled_distance3(stick, container, scale), 0.0, 0.05,
                                scaled_distance3(stick_init_pos_.data(), container_start, scale));

        // Grasping the stick.
        const bool held = is_held(obs, stick);
        const Scalar grasped = held ? Scalar(1.0)
                                    : caging_reward(action, stick,
                                                    {.obj_radius = 0.014,
                                                     .pad_success_thresh = 0.05,
                                                     .object_reach_radius = 0.01,
                                                     .xz_thresh = 0.01,
                                                     .high_density = true});
        const Scalar grasped_in_place = hamacher_product(grasped, in_place);
        Scalar reward = grasped_in_place;
        if (held) reward = 1.0 + grasped_in_place + 5.0 * in_place;

        // Pulling the container.
        if (held && inserted) {
            const double stick_at_target = long_tail_tolerance(distance3(stick, target), 0.0, 0.05,
                                                               distance3(stick_init_pos_.data(), target));
            const double container_at_target = long_tail_tolerance(distance3(container, target), 0.0, 0.05,
                                                                   distance3(obj_init_pos_.data(), target));
            reward = 1.0 + grasped_in_place + 5.0 + 2.0 * stick_at_target + container_at_target;
            if (handle_to_target <= 0.12) reward = 10.0;
        }
        result.reward = reward.value;
        return result;
    }

  private:
    int stick_end_;
};

constexpr double kGoalRadius = 0.12;  // m

// Push a thermos with a stick. Source: metaworld 3.1.1, SawyerStickPushEnvV3.
class StickPush final : public StickEnv {
  public:
    StickPush(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : StickEnv(std::move(base), spec, settled,
                   {.thermos_start = {0.0, 0.0}, .observed_offset = 0.09, .distance_name = "maxPushDist"}),
          stick_geom_(find_id(model(), mjOBJ_GEOM, "objGeom")),
          left_pad_geom_(find_id(model(), mjOBJ_GEOM, "leftpad_geom")),
          right_pad_geom_(find_id(model(), mjOBJ_GEOM, "rightpad_geom")) {}

  protected:
    double goal_height() const override { return site_position(insertion_)[2]; }
    const Vec3& cage_start() const override { return stick_init_pos_; }

    Evaluation evaluate(const double* obs, const float* action, bool want_reward) const override {
        const double *thermos = obs + 11, *target = target_pos_.data();
        const double to_target = distance3(thermos, target);
        Evaluation result;
        result.success = to_target <= kGoalRadius && obs[3] > 0.0 && obs[6] - 0.01 > stick_init_pos_[2] &&
                         presses(left_pad_geom_) && presses(right_pad_geom_);
        if (!want_reward) return result;

        // Grasping the stick a little before its middle.
        const double stick[3] = {obs[4] + 0.015, obs[5], obs[6]};
        if (!is_held(obs, stick)) {
            result.reward = caging_reward(action, stick,
                                          {.obj_radius = 0.04,
                                           .pad_success_thresh = 0.05,
                                           .object_reach_radius = 0.01,
                                           .xz_thresh = 0.01,
                                           .high_density = true})
                                .value;
            return result;
        }

        // Stick and thermos to the goal.
        if (to_target <= kGoalRadius) {
            result.reward = 10.0;
            return result;
        }
        const double stick_margin = distance3(stick_init_pos_.data(), target) - kGoalRadius;
        const double thermos_margin = distance3(obj_init_pos_.data(), target) - kGoalRadius;
        result.reward = 2.0 +
                        5.0 * long_tail_tolerance(distance3(stick, target), 0.0, kGoalRadius, stick_margin) +
                        3.0 * long_tail_tolerance(to_target, 0.0, kGoalRadius, thermos_margin);
        return result;
    }

  private:
    // Whether a pad's contacts with the stick carry a force.
    bool presses(int pad) const {
        double force = 0.0;
        for (int i = 0; i < data_->ncon; ++i) {
            const mjContact& contact = data_->contact[i];
            const bool is_ours = (contact.geom[0] == pad && contact.geom[1] == stick_geom_) ||
                                 (contact.geom[0] == stick_geom_ && contact.geom[1] == pad);
            if (is_ours && contact.efc_address >= 0) force += data_->efc_force[contact.efc_address];
        }
        return force > 0.0;
    }

    int stick_geom_, left_pad_geom_, right_pad_geom_;
};

}  // namespace

SawyerTasks stick_tasks() {
    return {
        {.name = "stick-pull",
         .spec = {.model_path = "sawyer_xyz/sawyer_stick_obj.xml",
                  .hand_low = {-0.5, 0.35, 0.05},
                  .random_low = {-0.1, 0.55, 0.000, 0.35, 0.45, 0.0199},
                  .random_high = {0.0, 0.65, 0.001, 0.45, 0.55, 0.0201},
                  .goal_low = {0.35, 0.45, 0.0199},
                  .goal_high = {0.45, 0.55, 0.0201}},
         .settles_alike = true,
         .make = make_sawyer<StickPull>},
        {.name = "stick-push",
         .spec = {.model_path = "sawyer_xyz/sawyer_stick_obj.xml",
                  .random_low = {-0.08, 0.58, 0.000, 0.399, 0.55, 0.1319},
                  .random_high = {-0.03, 0.62, 0.001, 0.401, 0.6, 0.1321},
                  .goal_low = {0.399, 0.55, 0.1319},
                  .goal_high = {0.401, 0.6, 0.1321}},
         .settles_alike = true,
         .make = make_sawyer<StickPush>},
    };
}

}  // namespace ibrl::metaworld
