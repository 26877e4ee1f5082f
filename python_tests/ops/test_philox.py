import random

import pytest
import torch

from ibrl_fast import _core
from ibrl_fast.ops import _philox as philox

# known answers published with Random123 (kat_vectors, philox4x32 10)
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def words(values: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.tensor([value]) for value in values]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected) -> None:
    assert tuple(_core.philox4x32_10(counter, key)) == expected
    assert tuple(int(w) for w in philox.philox4x32_10(words(counter), words(key))) == expected


def test_reference_equals_compiled_generator() -> None:
    rng = random.Random(0)
    for _ in range(200):
        counter = tuple(rng.getrandbits(32) for _ in range(4))
        key = tuple(rng.getrandbits(32) for _ in range(2))
        expected = tuple(int(w) for w in philox.philox4x32_10(words(counter), words(key)))
        assert tuple(_core.philox4x32_10(counter, key)) == expected


def test_index_stream_and_counter_fill_the_block() -> None:
    seed, counter, stream = -7, (5 << 32) + 3, 2
    drawn = philox.random4(seed, counter, stream, 4)
    block, key = (3, stream, 3, 5), (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
    assert tuple(int(w[3]) for w in drawn) == tuple(_core.philox4x32_10(block, key))


def test_uniform_numbers_lie_below_one_and_spread() -> None:
    top = philox.uniform53(words((0xFFFFFFFF, 0xFFFFFFFF)))
    assert top.item() == 1.0 - 2.0**-53
    uniform = philox.uniform53(philox.random4(1, 0, 1, 100_000))
    assert abs(uniform.mean().item() - 0.5) < 0.005 and abs(uniform.var().item() - 1 / 12) < 0.002
