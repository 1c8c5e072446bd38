"""Random numbers that depend on a seed and a purpose alone.

Belongs here: seeding and handing out numbers quickly. Does not belong here: what they are used for.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BLOCK: Final = 4096


def seeded(seed: int, *purpose: str) -> np.random.Generator:
    """A generator for one purpose; generators of different purposes do not influence each other."""
    return np.random.default_rng([seed, *(zlib.crc32(word.encode()) for word in purpose)])


def one_by_one(block: Callable[[], NDArray[Any]]) -> Callable[[], float]:
    """Hand out the values of vectorised draws one after the other, as plain Python numbers."""

    def values() -> Iterator[float]:
        while True:
            yield from block().tolist()

    return values().__next__


def normals(random: np.random.Generator) -> Callable[[], float]:
    """Standard normal numbers, one by one."""
    return one_by_one(lambda: random.standard_normal(BLOCK))
