#include "env_pool/tasks/metaworld/gripper.h"

#include <cmath>

namespace ibrl::metaworld {
namespace {

constexpr double kPadReach = 0.05;  // between a pad and the object that it cages, m

}  // namespace

Scalar Gripper::closing_effort(const float* action, double desired) {
    if (!(action[3] > 0.0f)) return 0.0;
    const float limit = static_cast<float>(desired);
    return limit < action[3] ? Scalar(1.0) : Scalar::single(action[3] / limit);
}

Scalar Gripper::caging_reward(const float* action, const double* obj_pos, const Caging& caging) const {
    // Both pads around the object in y, judged against where the object started.
    double sides[2];
    const int pads[2] = {left_pad_, right_pad_};
    for (int i = 0; i < 2; ++i) {
        const double pad_y = body_position(pads[i])[1];
        const double margin = std::abs(std::abs(pad_y - cage_start()[1]) - caging.pad_success_thresh);
        sides[i] = long_tail_tolerance(std::abs(pad_y - obj_pos[1]), caging.obj_radius,
                                       caging.pad_success_thresh, margin);
    }
    const Scalar caging_y = hamacher_product(sides[0], sides[1]);

    const Scalar caged = hamacher_product(caging_y, tcp_over(obj_pos, caging.xz_thresh));

    // Closing counts once the object is caged.
    const Scalar gripping =
        caged.value > 0.97 ? closing_effort(action, caging.desired_gripper_effort) : Scalar(0.0);
    Scalar result = hamacher_product(caged, gripping);
    if (caging.high_density) result = (result + caged) / 2.0;
    if (caging.medium_density) {
        const Vec3 tcp = tcp_center();
        const double reach_margin =
            std::abs(distance3(cage_start().data(), init_tcp_.data()) - caging.object_reach_radius);
        const Scalar reach = long_tail_tolerance(distance3(obj_pos, tcp.data()), 0.0,
                                                 caging.object_reach_radius, reach_margin);
        result = (result + reach) / 2.0;
    }
    return result;
}

Scalar Gripper::handle_reward(const float* action, const double* obs, double half_length,
                              bool high_density) const {
    double handle[3] = {obs[4], obs[5], obs[6]};
    if (std::abs(handle[0] - obs[0]) < half_length) handle[0] = obs[0];
    return caging_reward(action, handle,
                         {.obj_radius = 0.015,
                          .pad_success_thresh = 0.02,
                          .object_reach_radius = 0.01,
                          .xz_thresh = 0.01,
                          .high_density = high_density,
                          .medium_density = !high_density});
}

bool Gripper::is_at_gripper(const double* obs, const double* object, double radius) const {
    return distance3(object, tcp_center().data()) < radius && obs[3] > 0.0;
}

double Gripper::pinch_reward(const double* obj_pos, double obj_radius, double grip_slack,
                             double xz_thresh) const {
    const Scalar caged =
        hamacher_product(pads_around(obj_pos, obj_radius, kPadReach), tcp_over(obj_pos, xz_thresh));
    const Scalar gripped =
        caged.value > 0.95 ? pads_around(obj_pos, obj_radius, obj_radius + grip_slack) : Scalar(0.0);
    return ((caged + gripped) / 2.0).value;
}

Scalar Gripper::pads_around(const double* obj_pos, double nearest, double farthest) const {
    // Margins follow the pads as they are now: the published code keeps live views of them.
    const double left = body_position(left_pad_)[1] - obj_pos[1];
    const double right = obj_pos[1] - body_position(right_pad_)[1];
    return hamacher_product(
        long_tail_tolerance(right, nearest, farthest, std::abs(std::abs(right) - kPadReach)),
        long_tail_tolerance(left, nearest, farthest, std::abs(std::abs(left) - kPadReach)));
}

Scalar Gripper::tcp_over(const double* obj_pos, double xz_thresh) const {
    const Vec3 tcp = tcp_center();
    const double start = norm2(cage_start()[0] - init_tcp_[0], cage_start()[2] - init_tcp_[2]);
    return long_tail_tolerance(norm2(tcp[0] - obj_pos[0], tcp[2] - obj_pos[2]), 0.0, xz_thresh,
                               start - xz_thresh);
}

}  // namespace ibrl::metaworld
