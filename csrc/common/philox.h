// Counter-based random numbers, Philox4x32-10: Salmon et al., "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011. A number is a function of (seed,
// counter, stream, index) alone, so that CPU and CUDA agree bit for bit.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace ibrl {

// Keeps operations apart that use the same seed and counter.
enum class RandomStream : uint32_t { sample_rows = 1, random_shift = 2, ibrl_target = 3, ibrl_select = 4 };

struct Random4 {
    uint32_t word[4];
};

// One block of the generator: four words from a 128-bit counter and a 64-bit key.
IBRL_HD inline Random4 philox4x32_10(Random4 counter, uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t product0 = uint64_t{0xD2511F53u} * counter.word[0];
        const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter.word[2];
        counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0,
                    static_cast<uint32_t>(product1),
                    static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1,
                    static_cast<uint32_t>(product0)}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// The four words that belong to one index of one stream at one value of the caller's counter.
IBRL_HD inline Random4 random4(int64_t seed, int64_t counter, RandomStream stream, uint32_t index) {
    const auto key = static_cast<uint64_t>(seed), step = static_cast<uint64_t>(counter);
    const Random4 block{{index, static_cast<uint32_t>(stream), static_cast<uint32_t>(step),
                         static_cast<uint32_t>(step >> 32)}};
    return philox4x32_10(block, static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32));
}

// A double in [0, 1) with 53 random bits.
IBRL_HD inline double uniform53(const Random4& random) {
    const uint64_t bits = (uint64_t{random.word[0]} << 32 | random.word[1]) >> 11;
    return static_cast<double>(bits) * 0x1.0p-53;
}

// An integer in [0, bound), bound < 2^31: the high half of
// a 64 x 64 bit product, biased by less than bound / 2^64.
IBRL_HD inline int64_t uniform_below(const Random4& random, int64_t bound) {
    const auto n = static_cast<uint64_t>(bound);
    return static_cast<int64_t>((random.word[0] * n + (random.word[1] * n >> 32)) >> 32);
}

}  // namespace ibrl
