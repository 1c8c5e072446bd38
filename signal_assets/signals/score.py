"""What a check or a factor says: a score and why.

Belongs here: the pair, and the scores that section 11 of the specification names. Does not belong here: any check.
"""

from typing import Final, NamedTuple

FAVOURABLE: Final = 0.9
NEUTRAL: Final = 0.6
UNFAVOURABLE: Final = 0.3

UNDECIDED: Final = 0.7
"""What a check scores that knows nothing: the default pass mark, so it pulls the mean neither up nor down."""


class Score(NamedTuple):
    """A score in 0…1, and the reason for it in one line."""

    score: float
    reason: str


def scored(value: float, reason: str) -> Score:
    """A score clamped to 0…1, on six decimals: what is stored is what is reckoned with.

    Examples
    --------
    >>> scored(2 / 3, "two of three")
    Score(score=0.666667, reason='two of three')
    """
    return Score(round(min(max(value, 0.0), 1.0), 6), reason)
