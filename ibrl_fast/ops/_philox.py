"""Reference of the random generator of the ops, in torch: Philox4x32-10 (Salmon et al., SC 2011).

A number is a function of (seed, counter, stream, index): CPU, CUDA and this file agree bit for bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The streams of csrc/common/philox.h, which keep ops apart that share seed and counter.
SAMPLE_ROWS, RANDOM_SHIFT, IBRL_TARGET, IBRL_SELECT = 1, 2, 3, 4

_LOW = 0xFFFFFFFF


def philox4x32_10(counter: list[Tensor], key: list[Tensor]) -> list[Tensor]:
    """Compute one block, four int64 tensors of 32-bit words, from four such of a counter and two of a key."""
    c, k = list(counter), list(key)
    for _ in range(10):
        # int64 products wrap, which leaves all 64 bits of the unsigned product in place
        product0, product1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        high0, high1 = (product0 >> 32) & _LOW, (product1 >> 32) & _LOW
        c = [high1 ^ c[1] ^ k[0], product1 & _LOW, high0 ^ c[3] ^ k[1], product0 & _LOW]
        k = [(k[0] + 0x9E3779B9) & _LOW, (k[1] + 0xBB67AE85) & _LOW]
    return c


def random4(seed: int, counter: int, stream: int, count: int) -> list[Tensor]:
    """Return four int64 `[count]` of words for the indices 0 .. count - 1 of one stream at one counter."""
    index = torch.arange(count, dtype=torch.int64)

    def word(value: int) -> Tensor:
        return torch.full((count,), value & _LOW, dtype=torch.int64)

    return philox4x32_10(
        [index, word(stream), word(counter), word(counter >> 32)], [word(seed), word(seed >> 32)]
    )


def uniform53(words: list[Tensor]) -> Tensor:
    """Return float64 in [0, 1) with 53 random bits, from the first two words."""
    return (words[0] * 2**21 + (words[1] >> 11)).double() * 2.0**-53


def uniform_below(words: list[Tensor], bound: int) -> Tensor:
    """Return int64 in [0, bound), bound < 2**31, from two words: the high half of a 64 x 64 bit product."""
    return (words[0] * bound + (words[1] * bound >> 32)) >> 32
