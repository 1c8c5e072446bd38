"""Price-volume profiles: how much volume each price bucket holds.

Belongs here: profiles of trades over a look-back and of one depth snapshot. Does not belong here: peaks, zones, areas.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from signal_assets.aggregates.dollar_depth import sum_by_bucket
from signal_assets.compiled import compiled
from signal_assets.fixed_point import SCALE, FixedPointError

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Profile:
    """Buckets that hold volume.

    Parameters
    ----------
    bucket : ndarray of int64
        Bucket numbers, price / bucket size, ascending and unique; a number left out holds nothing.
    volume : ndarray of int64
        Positive volume of each, in units of 1e-8 of the base currency.
    """

    bucket: Integers
    volume: Integers

    @property
    def total(self) -> int:
        """Volume of the whole profile, as a Python integer."""
        if len(self) and int(self.volume.max()) < 2**63 // len(self):
            return int(self.volume.sum())  # cannot leave int64, and is ten times as fast
        return sum(self.volume.tolist())

    @property
    def base_volume(self) -> NDArray[np.float64]:
        """Volumes in base units."""
        return self.volume / SCALE

    def __len__(self) -> int:
        return len(self.bucket)


def depth_profile(price_bucket: Integers, quantity: Integers, bucket_size: int) -> Profile:
    """Profile of one depth snapshot, both sides together.

    Parameters
    ----------
    price_bucket, quantity : ndarray of int64
        The rows of ``aggregates.dollar_depth`` of one instrument and time, in any order; units of 1e-8.
    """
    number, total, _ = sum_by_bucket(price_bucket, quantity, bucket_size)
    held = total > 0
    return Profile(number[held], total[held])


def trade_profile(dollar_trades: pd.DataFrame, bucket_size: int, time: int, look_back: int) -> Profile:
    """Profile of the trades of one instrument in the minutes of ``(time - look_back, time]``.

    Parameters
    ----------
    dollar_trades : DataFrame
        Rows of ``aggregates.dollar_trades`` of one instrument, in any order.
    """
    minute = dollar_trades["minute"].to_numpy()
    inside = dollar_trades[(minute > time - look_back) & (minute <= time)]
    volume = inside["buy_quantity"].to_numpy() + inside["sell_quantity"].to_numpy()
    return depth_profile(inside["price_bucket"].to_numpy(), volume, bucket_size)


@compiled(takes="own integers, integers, integers, integer", returns="flag")
def add_rows(volume: Integers, place: Integers, quantity: Integers, sign: int) -> bool:
    """Add (sign 1) or take away (-1) the rows' quantities at their places; False when a sum left int64 (compiled)."""
    fits = True
    for i in range(place.size):
        volume[place[i]] += sign * quantity[i]
        if volume[place[i]] < 0:
            fits = False
    return fits


class RollingTradeProfile:
    """The trade profile of one instrument at ascending times, each from the last one.

    The volumes are integers, so adding the minutes that came and taking away those that left gives the same profile as
    summing the look-back afresh, wherever the first time was.

    Parameters
    ----------
    minute, price_bucket, quantity : ndarray of int64
        One instrument's rows with minutes ascending; quantity is bought plus sold.
    """

    def __init__(
        self, minute: Integers, price_bucket: Integers, quantity: Integers, bucket_size: int, look_back: int
    ) -> None:
        self.minute = minute
        self.quantity = quantity
        self.look_back = look_back
        # Places in the list of buckets that occur, not a dense array: one absurd price may lie far from the others.
        self.bucket, place = np.unique(price_bucket // bucket_size, return_inverse=True)
        self.place: Integers = place.astype(np.int64)
        self._volume = np.zeros(len(self.bucket), np.int64)
        self._first = 0
        self._last = 0

    def at(self, time: int) -> Profile:
        """The profile of the minutes in ``(time - look_back, time]``; times must not descend.

        Raises
        ------
        FixedPointError
            If a bucket's volume leaves int64.
        """
        first, last = np.searchsorted(self.minute, (time - self.look_back, time), side="right")
        if self._last < first:
            self._volume[:] = 0
            self._first = self._last = int(first)
        fits = add_rows(self._volume, self.place[self._first : first], self.quantity[self._first : first], -1)
        fits &= add_rows(self._volume, self.place[self._last : last], self.quantity[self._last : last], 1)
        if not fits:
            raise FixedPointError("the volume of a bucket over the look-back is beyond int64 units of 1e-8")
        self._first, self._last = int(first), int(last)
        held = np.flatnonzero(self._volume)
        return Profile(self.bucket[held], self._volume[held])
