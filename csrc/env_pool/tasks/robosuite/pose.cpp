#include "env_pool/tasks/robosuite/pose.h"

#include <algorithm>
#include <cmath>

namespace ibrl::robosuite {
namespace {

// Quaternion (x, y, z, w), w not negative, of a rotation matrix that is rounded to single precision: the eigenvector
// of the largest eigenvalue of a symmetric matrix.
Vector<4> quaternion_from_matrix(const Matrix<3>& matrix) {
    const auto m = [&matrix](int row, int column) { return static_cast<float>(matrix[3 * row + column]); };
    const float lower[4][4] = {
        {m(0, 0) - m(1, 1) - m(2, 2), 0, 0, 0},
        {m(0, 1) + m(1, 0), m(1, 1) - m(0, 0) - m(2, 2), 0, 0},
        {m(0, 2) + m(2, 0), m(1, 2) + m(2, 1), m(2, 2) - m(0, 0) - m(1, 1), 0},
        {m(2, 1) - m(1, 2), m(0, 2) - m(2, 0), m(1, 0) - m(0, 1), m(0, 0) + m(1, 1) + m(2, 2)}};
    Matrix<4> k, vectors;
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) k[4 * i + j] = (i >= j ? lower[i][j] : lower[j][i]) / 3.0f;
    }
    Vector<4> values;
    find_eigenvectors<4>(k, &values, &vectors);
    const int largest = static_cast<int>(std::max_element(values.begin(), values.end()) - values.begin());
    const double sign = vectors[4 * 3 + largest] < 0.0 ? -1.0 : 1.0;
    Vector<4> quaternion;
    for (int i = 0; i < 4; ++i) quaternion[i] = sign * vectors[4 * i + largest];
    return quaternion;
}

}  // namespace

Vector<4> quaternion_from_rotation_vector(const double* vector) {
    const double angle = std::sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
    if (angle == 0.0) return {0.0, 0.0, 0.0, 1.0};
    const double sine = std::sin(angle / 2.0);
    return {vector[0] / angle * sine, vector[1] / angle * sine, vector[2] / angle * sine,
            std::cos(angle / 2.0)};
}

Matrix<3> matrix_from_quaternion(const double* quaternion) {
    // w, x, y, z; the products are single, their sum is double, as the BLAS of AVX2 processors adds them.
    float q[4];
    double sum = 0.0;
    for (int i = 0; i < 4; ++i) {
        q[i] = static_cast<float>(quaternion[(i + 3) % 4]);
        sum += static_cast<double>(q[i] * q[i]);
    }
    const double scale = std::sqrt(2.0 / static_cast<double>(static_cast<float>(sum)));
    for (float& value : q) value = static_cast<float>(static_cast<double>(value) * scale);
    float p[4][4];
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) p[i][j] = q[i] * q[j];
    }
    const auto diagonal = [&p](int i, int j) {
        return 1.0 - static_cast<double>(p[i][i]) - static_cast<double>(p[j][j]);
    };
    const auto single = [](float value) { return static_cast<double>(value); };
    return {diagonal(2, 3), single(p[1][2] - p[3][0]), single(p[1][3] + p[2][0]), single(p[1][2] + p[3][0]),
            diagonal(1, 3), single(p[2][3] - p[1][0]), single(p[1][3] - p[2][0]), single(p[2][3] + p[1][0]),
            diagonal(1, 2)};
}

Vector<7> relative_pose(const double* object, const double* frame) {
    const auto rounded = [](double value) { return static_cast<double>(static_cast<float>(value)); };
    Matrix<3> object_matrix = matrix_from_quaternion(object + 3),
              frame_matrix = matrix_from_quaternion(frame + 3);
    for (double& value : object_matrix) value = rounded(value);
    for (double& value : frame_matrix) value = rounded(value);

    // The frame's inverse, then the product.
    Vector<7> result;
    Matrix<3> rotation{};
    for (int i = 0; i < 3; ++i) {
        double origin = 0.0, position = 0.0;
        for (int k = 0; k < 3; ++k) {
            origin += frame_matrix[3 * k + i] * rounded(frame[k]);
            position += frame_matrix[3 * k + i] * rounded(object[k]);
            for (int j = 0; j < 3; ++j)
                rotation[3 * i + j] += frame_matrix[3 * k + i] * object_matrix[3 * k + j];
        }
        result[i] = position - origin;
    }
    const Vector<4> quaternion = quaternion_from_matrix(rotation);
    std::copy(quaternion.begin(), quaternion.end(), result.begin() + 3);
    return result;
}

}  // namespace ibrl::robosuite
