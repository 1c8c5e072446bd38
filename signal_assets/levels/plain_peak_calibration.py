"""Probability of plain peaks in numbers, written by ``python -m benchmarks.fit_peak_confidence``.

Belongs here: numbers. Does not belong here: anything written by hand.
"""

# fmt: off

from typing import Final

CALIBRATION: Final[dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]]] = {
    "combined": (
        (-0.149955, 0.369331, 0.171113),
        (1.85633, 0.703284, 0.287842),
        (-4.14677, -0.127538, 1.6459, 0.465973, -0.578985, 0.856938, 0.219554, -0.521386, 0.213581, -0.00491492),
    ),
    "statistical": (
        (0.870217, 1.58232, 0.24923),
        (0.924329, 0.558643, 0.382092),
        (-3.50685, 2.47988, -1.11548, 2.16844, 0.659452, -0.987054, 1.03881, 0.361604, -0.335168, -0.371928),
    ),
    "volume": (
        (0.590775, 0.277805, 0.116676),
        (1.09135, 0.644468, 0.259131),
        (-4.39156, 0.137286, 1.64451, 0.530253, -0.38394, -0.0292547, 0.699167, -0.188659, -0.0576792, 0.117145),
    ),
}
"""By method: centre and scale of the three measures, weights of 1, of each measure and of each product i ≤ j."""
