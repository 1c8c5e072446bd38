"""The seeded market: all instruments' messages in the order in which a client receives them.

Belongs here: merging instruments, feed gaps, the model's start and end. Does not belong here: one instrument's book
(``instrument_flow.py``), prices (``price_paths.py``), the plan (``market_plan.py``).
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date
from operator import itemgetter
from typing import Any, Final

from services.simulated_venue.instrument_flow import LATENCY, InstrumentFlow
from services.simulated_venue.market_plan import FlowSettings, MarketPlan
from services.simulated_venue.price_paths import PricePaths, weekend
from services.simulated_venue.venue_message import VenueMessage
from signal_assets.event_time import DAY, MILLISECOND, start_of_date
from signal_assets.instrument import Instrument

DEFAULT_START: Final = start_of_date(date(2025, 1, 3))
"""A Friday, so that three days hold a weekend."""
ACTIVITIES: Final = (1.0, 0.8, 0.6, 0.5, 0.5)
CHUNK_MILLISECONDS: Final = 1_000


class OrderFlow:
    """A simulated market; iterate it once for its messages.

    Parameters
    ----------
    instruments : sequence of Instrument
        A third leg (ETH/BTC beside BTC/FDUSD and ETH/FDUSD) takes its price from the other two.
    start : int
        Market time to begin at, µs UTC; whole milliseconds.
    seed : int
        Same seed, same arguments: same bytes.
    days : float, optional
        Length; endless without it.
    settings : FlowSettings
        How it trades.

    Examples
    --------
    >>> from signal_assets.instrument import Instrument
    >>> btc = Instrument("BTCFDUSD", "BINANCE", "BTC/FDUSD", 1_000_000, 1_000)
    >>> first = next(iter(OrderFlow([btc], seed=7, days=0.01)))
    >>> first.stream, first.on_wire
    ('btcfdusd@snapshot', False)
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        *,
        start: int = DEFAULT_START,
        seed: int = 1,
        days: float | None = None,
        settings: FlowSettings | None = None,
    ) -> None:
        if not instruments:
            raise ValueError("the simulated market needs at least one instrument")
        if days is not None and days <= 0:
            raise ValueError(f"days must be positive: {days}")
        self.instruments = tuple(instruments)
        self.settings = settings or FlowSettings()
        self.start = start // MILLISECOND * MILLISECOND
        self.end = None if days is None else self.start + int(days * DAY)
        self.plan = MarketPlan(self.instruments, start=self.start, seed=seed, settings=self.settings)
        interval = self.settings.diff_interval
        self._flows = [
            InstrumentFlow(
                self.plan.instruments[instrument.symbol],
                start=self.start,
                phase=interval * number // (len(self.instruments) + 1),
                seed=seed,
                activity=ACTIVITIES[number % len(ACTIVITIES)],
            )
            for number, instrument in enumerate(self.instruments)
        ]
        self._paths = PricePaths(self.plan)
        self._time = self.start
        self._gaps: dict[str, deque[tuple[int, int]]] = {instrument.symbol: deque() for instrument in instruments}
        self._gaps_known = self.start - 1

    def truth(self) -> dict[str, Any]:
        """What was planted, up to the model's end or, endless, a day beyond what was generated."""
        return self.plan.truth(self.end if self.end is not None else self._time + DAY)

    def enable_book_tickers(self, symbol: str) -> None:
        """Say the best prices of ``symbol`` too from now on."""
        for flow in self._flows:
            if flow.symbol == symbol:
                flow.book_tickers = True

    def __iter__(self) -> Iterator[VenueMessage]:
        interval = self.settings.diff_interval
        steps = math.ceil(CHUNK_MILLISECONDS / interval)
        received = itemgetter(0)
        yield from [flow.snapshot(self.start * 1000) for flow in self._flows]
        pending: list[VenueMessage] = []
        last_time = (self.end - interval * MILLISECOND) if self.end is not None else None
        while last_time is None or self._time < last_time:
            for _ in range(steps):
                if last_time is None or self._time < last_time:
                    self._step(pending)
            pending.sort(key=received)  # stable: equal times stay in order of generation
            done = bisect_right(pending, self._time * 1000 + LATENCY, key=received)
            yield from pending[:done]
            del pending[:done]
        yield from pending

    def _step(self, out: list[VenueMessage]) -> None:
        self._time += self.settings.diff_interval * MILLISECOND
        time, plans = self._time, self.plan.instruments
        walls = {symbol: plan.wall_at(time) for symbol, plan in plans.items()}
        anomalies = {symbol: plan.anomalies.at(time) for symbol, plan in plans.items()}
        spreads = {flow.symbol: flow.draw_spread(anomalies[flow.symbol]) for flow in self._flows}
        activity = self._paths.step(time, walls, anomalies, spreads)
        if weekend(time):
            activity *= self.settings.weekend_activity
        if time > self._gaps_known:
            self._learn_gaps(time)
        for flow in self._flows:
            symbol = flow.symbol
            if self._gaps[symbol]:
                self._mind_gap(flow, self._gaps[symbol], out)
            flow.step(self._paths.mids[symbol], walls[symbol], anomalies[symbol], activity, out)

    def _learn_gaps(self, time: int) -> None:
        known, self._gaps_known = self._gaps_known, time + DAY
        for symbol, start, end in self.plan.gaps_until(self._gaps_known):
            if start >= known and symbol in self._gaps:
                self._gaps[symbol].append((start // MILLISECOND, end // MILLISECOND))

    def _mind_gap(self, flow: InstrumentFlow, gaps: deque[tuple[int, int]], out: list[VenueMessage]) -> None:
        """Tell the flow its next gap; after a gap, add the book as of the last update that was not seen."""
        if (flow.gap_start, flow.gap_end) != gaps[0]:
            flow.gap_start, flow.gap_end = gaps[0]
        if flow.next_time > flow.gap_end:
            out.append(flow.snapshot())
            gaps.popleft()
