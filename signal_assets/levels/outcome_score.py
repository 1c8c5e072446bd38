"""Whether levels are better than chance: their outcomes beside those of random levels, with an interval.

Belongs here: the comparison. Does not belong here: the outcomes (``level_outcomes``), words and tables (``services``).

Only levels count whose horizon lies behind the newest outcome, so that early outcomes are not counted before late ones,
and only zones with partners; the partners of a zone together weigh as much as the zone. Of the levels that were touched
and decided, the share that bounced is compared. The interval is a percentile bootstrap over blocks of time (Efron &
Tibshirani 1993; Künsch 1989): what happens within a block hangs together – the same zone from moment to moment, all
zones in the same move – so blocks, not rows, are what there is many or few of.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Reals = NDArray[np.float64]

RESAMPLES: Final = 2_000
CONFIDENCE_PERCENT: Final = 95
MINIMUM_BLOCKS: Final = 20
MINIMUM_DECIDED: Final = 50
"""With fewer the interval itself is not to be believed."""

Verdict = Literal["better than chance", "worse than chance", "no difference seen", "too few to tell"]

SUMS: Final = ("zones", "touched", "random_touched", "bounced", "decided", "random_bounced", "random_decided")


@dataclass(frozen=True, slots=True)
class LevelScore:
    """Outcomes of the zones of one instrument and profile, beside random levels.

    Parameters
    ----------
    blocks : int
        Stretches of time with at least one zone.
    zones, decided : int
        Zones that count, and those of them that bounced or broke.
    touched, random_touched : float
        Share that was touched.
    bounced, random_bounced : float
        Share of the decided that bounced.
    difference, low, high : float
        ``bounced - random_bounced`` and the ends of its 95 % interval; NaN where they are not defined, and the ends
        also where there is a single block.
    """

    instrument: str
    profile: str
    blocks: int
    zones: int
    decided: int
    touched: float
    random_touched: float
    bounced: float
    random_bounced: float
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What may be said."""
        if self.blocks < MINIMUM_BLOCKS or self.decided < MINIMUM_DECIDED or not self.low <= self.high:
            return "too few to tell"
        if self.low > 0:
            return "better than chance"
        return "worse than chance" if self.high < 0 else "no difference seen"


def score_levels(level_outcomes: pd.DataFrame, horizon: int, *, resamples: int = RESAMPLES) -> list[LevelScore]:
    """Score of each instrument and profile, in that order.

    Parameters
    ----------
    level_outcomes : DataFrame
        Rows of ``levels.level_outcomes``.
    horizon : int
        How long a level was watched, µs; a block is twice as long.
    resamples : int
        Of the bootstrap; it begins with the same seed every time.
    """
    if level_outcomes.empty:
        return []
    until = int(level_outcomes["time"].max())
    settled = level_outcomes[(level_outcomes["level_time"] + horizon <= until).to_numpy()]
    scores = []
    for (instrument, profile), rows in settled.groupby(["instrument", "profile"], sort=True):
        sums = block_sums(rows, 2 * horizon)
        if len(sums):
            scores.append(_score(str(instrument), str(profile), sums, resamples))
    return scores


def block_sums(rows: pd.DataFrame, block: int) -> Reals:
    """Per block of time with zones that count, the sums named SUMS; shape (blocks, 7).

    Parameters
    ----------
    rows : DataFrame
        Rows of one instrument and profile, whole horizons only.
    """
    seen = rows[(rows["outcome"] != "unseen").to_numpy()]
    of_zone = ["level_time", "zone_low"]
    partners = seen[(seen["draw"] > 0).to_numpy()].groupby(of_zone)["draw"].count().rename("partners")
    real = seen.loc[(seen["draw"] == 0).to_numpy(), of_zone]
    counted = seen.merge(real, on=of_zone).join(partners, on=of_zone, how="inner")
    if counted.empty:
        return np.empty((0, len(SUMS)))
    is_real = (counted["draw"] == 0).to_numpy()
    weight = np.where(is_real, 1.0, 1.0 / counted["partners"].to_numpy())
    outcome = counted["outcome"]
    touched, bounced = (outcome != "untouched").to_numpy(), (outcome == "bounced").to_numpy()
    decided = bounced | (outcome == "broke").to_numpy()
    columns = {
        "zones": is_real,
        "touched": is_real & touched,
        "random_touched": ~is_real & touched,
        "bounced": is_real & bounced,
        "decided": is_real & decided,
        "random_bounced": ~is_real & bounced,
        "random_decided": ~is_real & decided,
    }
    _, place = np.unique((counted["level_time"].to_numpy() // block), return_inverse=True)
    return np.stack([np.bincount(place, weights=weight * columns[name]) for name in SUMS], axis=1)


def _score(instrument: str, profile: str, sums: Reals, resamples: int) -> LevelScore:
    total = sums.sum(axis=0)
    zones, touched, random_touched, bounced, decided, random_bounced, random_decided = total.tolist()
    chosen = np.random.default_rng(0).integers(0, len(sums), (resamples, len(sums)))
    differences = _differences(sums[chosen].sum(axis=1))
    defined = differences[np.isfinite(differences)]
    if len(sums) < 2:
        defined = defined[:0]  # one block drawn again and again says nothing of how far chance reaches
    tail = (100 - CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(defined, [tail, 100 - tail]).tolist() if len(defined) else (np.nan, np.nan)
    return LevelScore(
        instrument,
        profile,
        blocks=len(sums),
        zones=round(zones),
        decided=round(decided),
        touched=touched / zones,
        random_touched=random_touched / zones,
        bounced=_share(bounced, decided),
        random_bounced=_share(random_bounced, random_decided),
        difference=float(_differences(total[None])[0]),
        low=low,
        high=high,
    )


def _differences(totals: Reals) -> Reals:
    """Share of decided zones that bounced less that of random levels, for each row of sums."""
    bounced, decided, random_bounced, random_decided = totals[:, 3:].T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(bounced / decided - random_bounced / random_decided)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
