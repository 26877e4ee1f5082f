// Symmetric matrices of a few rows, as an operational-space controller needs them: row-major, sizes known at compile
// time.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

namespace ibrl::robosuite {

template <int N>
using Vector = std::array<double, N>;
template <int R, int C = R>
using Matrix = std::array<double, R * C>;

// Lower factor L of a = L L^T; false where a is singular to working precision.
template <int N>
bool factor_cholesky(const Matrix<N>& a, Matrix<N>* lower) {
    double largest = 0.0;
    for (int i = 0; i < N; ++i) largest = std::max(largest, a[N * i + i]);
    for (int i = 0; i < N; ++i) {
        for (int j = 0; j <= i; ++j) {
            double sum = a[N * i + j];
            for (int k = 0; k < j; ++k) sum -= (*lower)[N * i + k] * (*lower)[N * j + k];
            if (i == j) {
                if (!(sum > 1e-14 * largest)) return false;
                (*lower)[N * i + i] = std::sqrt(sum);
            } else {
                (*lower)[N * i + j] = sum / (*lower)[N * j + j];
            }
        }
    }
    return true;
}

// Solves L x = b in place, for `columns` right-hand sides that lie beside each other.
template <int N, int Columns>
void solve_lower(const Matrix<N>& lower, Matrix<N, Columns>* b) {
    for (int i = 0; i < N; ++i) {
        for (int c = 0; c < Columns; ++c) {
            double sum = (*b)[Columns * i + c];
            for (int k = 0; k < i; ++k) sum -= lower[N * i + k] * (*b)[Columns * k + c];
            (*b)[Columns * i + c] = sum / lower[N * i + i];
        }
    }
}

// Eigenvalues, and eigenvectors as columns, of a symmetric matrix: cyclic Jacobi rotations.
template <int N>
void find_eigenvectors(Matrix<N> a, Vector<N>* values, Matrix<N>* vectors) {
    vectors->fill(0.0);
    for (int i = 0; i < N; ++i) (*vectors)[N * i + i] = 1.0;
    for (int sweep = 0; sweep < 30; ++sweep) {
        double off = 0.0, total = 0.0;
        for (int i = 0; i < N * N; ++i) {
            total += a[i] * a[i];
            if (i / N != i % N) off += a[i] * a[i];
        }
        if (!(off > 1e-32 * total)) break;
        for (int p = 0; p < N; ++p) {
            for (int q = p + 1; q < N; ++q) {
                if (a[N * p + q] == 0.0) continue;
                const double theta = (a[N * q + q] - a[N * p + p]) / (2.0 * a[N * p + q]);
                const double t = std::copysign(1.0, theta) / (std::abs(theta) + std::hypot(theta, 1.0));
                const double c = 1.0 / std::hypot(t, 1.0), s = t * c;
                const auto rotate = [c, s](double& x, double& y) {
                    const double old = x;
                    x = c * old - s * y;
                    y = s * old + c * y;
                };
                for (int k = 0; k < N; ++k) rotate(a[N * k + p], a[N * k + q]);
                for (int k = 0; k < N; ++k) rotate(a[N * p + k], a[N * q + k]);
                for (int k = 0; k < N; ++k) rotate((*vectors)[N * k + p], (*vectors)[N * k + q]);
            }
        }
    }
    for (int i = 0; i < N; ++i) (*values)[i] = a[N * i + i];
}

// pinv(a) b for a positive semi-definite a; singular values below 1e-15 of the largest count as zero, as NumPy's do.
template <int N>
Vector<N> solve_pseudo(const Matrix<N>& a, const Vector<N>& b) {
    Vector<N> x{};
    Matrix<N> lower;
    if (factor_cholesky<N>(a, &lower)) {
        x = b;
        solve_lower<N, 1>(lower, &x);
        for (int i = N - 1; i >= 0; --i) {
            for (int k = i + 1; k < N; ++k) x[i] -= lower[N * k + i] * x[k];
            x[i] /= lower[N * i + i];
        }
        return x;
    }
    Vector<N> values;
    Matrix<N> vectors;
    find_eigenvectors<N>(a, &values, &vectors);
    const double largest = std::abs(*std::max_element(
        values.begin(), values.end(), [](double u, double v) { return std::abs(u) < std::abs(v); }));
    for (int k = 0; k < N; ++k) {
        if (!(std::abs(values[k]) > 1e-15 * largest)) continue;
        double along = 0.0;
        for (int i = 0; i < N; ++i) along += vectors[N * i + k] * b[i];
        for (int i = 0; i < N; ++i) x[i] += vectors[N * i + k] * along / values[k];
    }
    return x;
}

}  // namespace ibrl::robosuite
