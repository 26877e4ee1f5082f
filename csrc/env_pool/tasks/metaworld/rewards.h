// The reward shapes that Meta-World takes from dm_control, in the arithmetic that NumPy 2 gives its scalars.
#pragma once

#include <algorithm>
#include <cmath>

namespace ibrl::metaworld {

// A Python scalar: float64, or NumPy's float32 once a float32 action has entered (Python floats adapt to it).
struct Scalar {
    double value = 0.0;
    bool is_single = false;

    Scalar() = default;
    Scalar(double v) : value(v) {}  // NOLINT: a Python float becomes one implicitly, as in Python
    static Scalar single(float v) {
        Scalar result(v);
        result.is_single = true;
        return result;
    }
};

template <typename Op64, typename Op32>
Scalar combine(Scalar a, Scalar b, Op64 wide, Op32 narrow) {
    if (a.is_single || b.is_single) {
        return Scalar::single(narrow(static_cast<float>(a.value), static_cast<float>(b.value)));
    }
    return Scalar(wide(a.value, b.value));
}

inline Scalar operator+(Scalar a, Scalar b) {
    return combine(a, b, [](double x, double y) { return x + y; }, [](float x, float y) { return x + y; });
}
inline Scalar operator-(Scalar a, Scalar b) {
    return combine(a, b, [](double x, double y) { return x - y; }, [](float x, float y) { return x - y; });
}
inline Scalar operator*(Scalar a, Scalar b) {
    return combine(a, b, [](double x, double y) { return x * y; }, [](float x, float y) { return x * y; });
}
inline Scalar operator/(Scalar a, Scalar b) {
    return combine(a, b, [](double x, double y) { return x / y; }, [](float x, float y) { return x / y; });
}

// NumPy squares its scalars with the C library's pow, which now and then rounds otherwise than a product.
inline double square_by_power(double x) {
    volatile double exponent = 2.0;  // else the compiler makes a product of it
    return std::pow(x, exponent);
}

// 1 inside [lower, upper]; outside, 1 / (1 + (3 d)^2) with d the distance in units of the margin, where it
// is 0.1.
inline double long_tail_tolerance(double x, double lower, double upper, double margin) {
    if (lower <= x && x <= upper) return 1.0;
    if (margin == 0.0) return 0.0;
    const double distance = (x < lower ? lower - x : x - upper) / margin;
    const double scaled = distance * std::sqrt(1.0 / 0.1 - 1.0);
    return 1.0 / (square_by_power(scaled) + 1.0);
}

// 1 inside [lower, upper]; outside a Gaussian that is 0.1 at the margin.
inline double gaussian_tolerance(double x, double lower, double upper, double margin) {
    if (lower <= x && x <= upper) return 1.0;
    if (margin == 0.0) return 0.0;
    const double distance = (x < lower ? lower - x : x - upper) / margin;
    const double scaled = distance * std::sqrt(-2.0 * std::log(0.1));
    return std::exp(-0.5 * square_by_power(scaled));
}

// a b / (a + b - a b), 0 where both are 0: a soft "and" of two numbers in [0, 1].
inline Scalar hamacher_product(Scalar a, Scalar b) {
    const Scalar denominator = a + b - a * b;
    return denominator.value > 0.0 ? a * b / denominator : Scalar(0.0);
}

inline double norm3(const double* v) {
    return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

inline double norm2(double x, double y) {
    return std::sqrt(x * x + y * y);
}

inline double distance3(const double* a, const double* b) {
    const double difference[3] = {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
    return norm3(difference);
}

// Between the start and the goal that a draw holds, in x and y, m.
inline double start_to_goal(const double* rand_vec) {
    return norm2(rand_vec[0] - rand_vec[3], rand_vec[1] - rand_vec[4]);
}

// Distance with a weight for each axis.
inline double scaled_distance3(const double* a, const double* b, const double (&scale)[3]) {
    const double difference[3] = {(a[0] - b[0]) * scale[0], (a[1] - b[1]) * scale[1],
                                  (a[2] - b[2]) * scale[2]};
    return norm3(difference);
}

// Height of a funnel that opens upwards, at a distance from its axis: 0 within `throat`.
inline double funnel_height(double radius, double throat, double slope, double height) {
    return radius > throat ? slope * std::log(radius - throat) + height : 0.0;
}

// 1 in or above a funnel's height, falling off below it: hands shall come from above.
inline double above_funnel(double z, double funnel, double margin) {
    return z >= funnel ? 1.0 : long_tail_tolerance(funnel - z, 0.0, 0.01, margin);
}

// 1 where a quaternion is the ideal one, falling to 0 at a distance of `tolerance`.
inline double orientation_match(const double* quaternion, const double (&ideal)[4], double tolerance) {
    double squares = 0.0;
    for (int i = 0; i < 4; ++i) squares += (quaternion[i] - ideal[i]) * (quaternion[i] - ideal[i]);
    const double match = 1.0 - std::sqrt(squares) / tolerance;
    return match > 0.0 ? match : 0.0;
}

// How far a float32 action closes the gripper, in [0, 1].
inline float gripper_closure(const float* action) {
    return (std::min(std::max(action[3], -1.0f), 1.0f) + 1.0f) / 2.0f;
}

// For lifting something at all, and for bringing it near (distance and margin in m), in [0, 1].
inline double lift_reward(bool is_lifted, double distance, double margin) {
    return 0.1 * is_lifted + 0.9 * long_tail_tolerance(distance, 0.0, 0.02, margin);
}

// For an object that is grasped and in its place: once it is held, above all for the place.
inline Scalar carry_reward(Scalar grasped, double in_place, bool is_held, double weight = 5.0) {
    const Scalar reward = hamacher_product(grasped, in_place);
    return is_held ? reward + (1.0 + weight * in_place) : reward;
}

}  // namespace ibrl::metaworld
