"""NumPy's PCG64 generators as six words, the form in which states hold them in every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_LOW_64 = (1 << 64) - 1


def generator_words(generator: np.random.Generator) -> npt.NDArray[np.uint64]:
    """Return state high, low, increment high, low, has_uint32, uinteger, uint64 [6]."""
    state: dict[str, Any] = dict(generator.bit_generator.state)
    value, increment = state["state"]["state"], state["state"]["inc"]
    words = [value >> 64, value & _LOW_64, increment >> 64, increment & _LOW_64]
    return np.array([*words, state["has_uint32"], state["uinteger"]], dtype=np.uint64)


def generator_from_words(words: npt.NDArray[np.uint64]) -> np.random.Generator:
    """Return the generator that `generator_words` described, uint64 [6]."""
    high, low, inc_high, inc_low, has_uint32, uinteger = (int(word) for word in words)
    bits = np.random.PCG64(0)
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return np.random.Generator(bits)
