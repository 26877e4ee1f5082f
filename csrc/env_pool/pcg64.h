// NumPy's default generator (PCG64 with XSL-RR output), so that a seed means the same start and goal as in
// Python.
#pragma once

#include <array>
#include <cstdint>

namespace ibrl {

class Pcg64 {
  public:
    // state high, state low, increment high, increment low, has_uint32, uinteger: numpy's bit_generator.state
    using Words = std::array<std::uint64_t, 6>;

    void set_words(const Words& words) {
        state_ = join(words[0], words[1]);
        increment_ = join(words[2], words[3]);
        buffered_ = {words[4], words[5]};
    }

    Words words() const {
        return {high(state_), low(state_), high(increment_), low(increment_), buffered_[0], buffered_[1]};
    }

    // Uniform in [0, 1), 53 bits.
    double next_double() { return static_cast<double>(next() >> 11) * (1.0 / 9007199254740992.0); }

    // numpy's Generator.uniform(low, high)
    double uniform(double low, double high) { return low + (high - low) * next_double(); }

    // 64 random bits.
    std::uint64_t next() {
        state_ = state_ * join(2549297995355413924ULL, 4865540595714422341ULL) + increment_;
        const std::uint64_t mixed = high(state_) ^ low(state_);
        const unsigned rotation = static_cast<unsigned>(high(state_) >> 58);
        return (mixed >> rotation) | (mixed << ((64 - rotation) & 63));
    }

  private:
    using Wide = unsigned __int128;

    static Wide join(std::uint64_t high, std::uint64_t low) { return (static_cast<Wide>(high) << 64) | low; }
    static std::uint64_t high(Wide value) { return static_cast<std::uint64_t>(value >> 64); }
    static std::uint64_t low(Wide value) { return static_cast<std::uint64_t>(value); }

    Wide state_ = 0;
    Wide increment_ = 1;
    std::array<std::uint64_t, 2>
        buffered_{};  // numpy keeps half of a draw for 32-bit requests; carried, never used
};

}  // namespace ibrl
