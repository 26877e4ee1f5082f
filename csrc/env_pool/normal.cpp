#include "env_pool/normal.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace ibrl {
namespace {

constexpr int kStrips = 256;
constexpr long double kTail = 3.6541528853610087963519472518L;  // where the lowest strip's tail begins

// Strip i lies below f(x) = exp(-x^2 / 2), from x = 0 to its edge.
struct Ziggurat {
    std::array<double, kStrips> scale;          // edge / 2^52
    std::array<std::uint64_t, kStrips> inside;  // of 2^52, how much of a strip surely lies below f
    std::array<double, kStrips> height;         // f at the edge

    Ziggurat() {
        const auto f = [](long double x) { return std::exp(-0.5L * x * x); };
        const long double unit = 4503599627370496.0L;  // 2^52
        const long double beyond = std::sqrt(std::numbers::pi_v<long double> / 2.0L) *
                                   std::erfc(kTail / std::numbers::sqrt2_v<long double>);
        const long double area = kTail * f(kTail) + beyond;

        // The lowest strip is a rectangle and the tail beside it.
        scale[0] = static_cast<double>(area / f(kTail) / unit);
        inside[0] = static_cast<std::uint64_t>(kTail * f(kTail) / area * unit);
        height[0] = 1.0;
        long double edge = kTail;
        scale[kStrips - 1] = static_cast<double>(edge / unit);
        height[kStrips - 1] = static_cast<double>(f(edge));
        for (int i = kStrips - 2; i > 0; --i) {
            const long double next = std::sqrt(-2.0L * std::log(area / edge + f(edge)));
            inside[i + 1] = static_cast<std::uint64_t>(next / edge * unit);
            scale[i] = static_cast<double>(next / unit);
            height[i] = static_cast<double>(f(next));
            edge = next;
        }
        inside[1] = 0;
    }
};

double draw_tail(Pcg64* rng, bool is_negative) {
    const double tail = static_cast<double>(kTail), inverse = 0.27366123732975827203338247596;
    for (;;) {
        const double x = -inverse * std::log1p(-rng->next_double());
        const double y = -std::log1p(-rng->next_double());
        if (y + y > x * x) return is_negative ? -(tail + x) : tail + x;
    }
}

}  // namespace

double draw_normal(Pcg64* rng) {
    static const Ziggurat ziggurat;
    for (;;) {
        const std::uint64_t bits = rng->next();
        const int strip = static_cast<int>(bits & 0xff);
        const std::uint64_t size = (bits >> 9) & 0xfffffffffffffULL;
        const double x = static_cast<double>(size) * ziggurat.scale[strip] * ((bits >> 8) & 1 ? -1.0 : 1.0);
        if (size < ziggurat.inside[strip]) return x;
        if (strip == 0) return draw_tail(rng, (size >> 8) & 1);
        const double low = ziggurat.height[strip], high = ziggurat.height[strip - 1];
        if ((high - low) * rng->next_double() + low < std::exp(-0.5 * x * x)) return x;
    }
}

}  // namespace ibrl
