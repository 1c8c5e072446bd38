"""What the simulated market is going to do: volume nodes, walls, regimes, anomalies and feed gaps, with their truth.

Belongs here: the seeded plan, laid out ahead of the messages. Does not belong here: the messages (``order_flow.py``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from services.simulated_venue.random_values import seeded
from services.simulated_venue.venue_message import decimal_text
from signal_assets.event_time import DAY, HOUR, MINUTE, SECOND
from signal_assets.instrument import Instrument

BASE_PRICES: Final[Mapping[str, float]] = {"BTC": 61_000.0, "ETH": 2_600.0, "SOL": 155.0, "BNB": 510.0}
REGIMES: Final[Mapping[str, tuple[float, float]]] = {
    "calm": (0.6, 0.7),
    "normal": (1.0, 1.0),
    "volatile": (2.2, 1.8),
}
"""Name → factor on volatility, factor on activity."""
SETTLING: Final = 4 * MINUTE
ANOMALY_KINDS: Final = ("price_spike", "volume_burst", "spread_widening", "book_imbalance")


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How the model trades and quotes.

    Parameters
    ----------
    diff_interval : int
        Between two depth updates of an instrument, ms (100…10,000).
    trades_per_second : float
        Mean rate of the busiest instrument; the others trade less.
    levels_per_side : int
        Size of the book (a few hundred to 5,000).
    updates_per_diff : float
        Mean number of levels that change for other reasons than trades and moves.
    mean_trade_value : float
        Mean size of a trade in quote units of the major pairs.
    node_minutes : float
        Mean stay around one volume node.
    late_trade_share, very_late_trade_share : float
        Trades that arrive up to 400 ms behind, and those that come after their second was closed.
    gaps_per_day : float
        Stretches of messages missing on the wire.
    planned_gaps : sequence of (symbol or None, start, end)
        Gaps at chosen times (µs UTC); ``None`` is all instruments.
    weekend_activity : float
        Factor on activity on Saturdays and Sundays.
    """

    diff_interval: int = 100
    trades_per_second: float = 4.0
    levels_per_side: int = 1000
    updates_per_diff: float = 6.0
    mean_trade_value: float = 12_000.0
    node_minutes: float = 60.0
    wall_share: float = 0.75
    anomalies_per_day: float = 8.0
    late_trade_share: float = 0.02
    very_late_trade_share: float = 0.0001
    gaps_per_day: float = 0.0
    planned_gaps: Sequence[tuple[str | None, int, int]] = ()
    weekend_activity: float = 0.6

    def __post_init__(self) -> None:
        if not 1 <= self.diff_interval <= 60_000:
            raise ValueError(f"diff_interval must lie within 1…60000 ms: {self.diff_interval}")
        if not 10 <= self.levels_per_side <= 20_000:
            raise ValueError(f"levels_per_side must lie within 10…20000: {self.levels_per_side}")
        if self.trades_per_second < 0:
            raise ValueError(f"trades_per_second must not be negative: {self.trades_per_second}")

    @classmethod
    def sparse(cls, **changes: Any) -> "FlowSettings":
        """Cheap enough for days within a test: a diff every 5 s, a trade every 10 s, small books."""
        sparse: dict[str, Any] = {
            "diff_interval": 5_000,
            "trades_per_second": 0.1,
            "levels_per_side": 200,
            "updates_per_diff": 3.0,
            "mean_trade_value": 20_000.0,
            "very_late_trade_share": 0.0005,
        }
        return cls(**(sparse | changes))


class _Period(Protocol):
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Node:
    """A price the market keeps coming back to; times µs UTC, price in ticks."""

    start: int
    end: int
    price: float


@dataclass(frozen=True, slots=True)
class Wall:
    """A large resting order that holds while it stands; price in ticks, quantity in lots."""

    start: int
    end: int
    side: str
    price: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Regime:
    """A stretch of one volatility."""

    start: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A planted event; ``direction`` is the way of a price spike or the heavy side of the book."""

    start: int
    end: int
    kind: str
    direction: int


P = TypeVar("P", bound=_Period)


class Timeline(Generic[P]):
    """Periods in order of their start, made when first looked at; they do not overlap."""

    def __init__(self, make: Callable[[int], P], start: int) -> None:
        self._make = make
        self._next = start
        self._current = 0
        self.periods: list[P] = []

    def extend(self, time: int) -> None:
        """Plan at least up to ``time``."""
        while self._next <= time:
            period = self._make(self._next)
            self.periods.append(period)
            self._next = period.end

    def at(self, time: int) -> P | None:
        """The period that holds ``time``; times asked for must not decrease."""
        if self._next <= time:
            self.extend(time)
        periods = self.periods
        while self._current < len(periods) and periods[self._current].end <= time:
            self._current += 1
        if self._current < len(periods) and periods[self._current].start <= time:
            return periods[self._current]
        return None


class InstrumentPlan:
    """Plan of one instrument.

    Parameters
    ----------
    instrument : Instrument
        For tick, lot and bucket.
    price : float
        Price it begins at, in quote units.
    derived : bool
        True where the price follows from two others: no nodes or walls of its own, and a spike leaves their ratio.
    """

    def __init__(
        self, instrument: Instrument, price: float, *, start: int, seed: int, settings: FlowSettings, derived: bool
    ) -> None:
        self.instrument = instrument
        self.derived = derived
        self.settings = settings
        self.start_price = price * 1e8 / instrument.tick_size
        # deviation from a node: five buckets, but not less than two ticks nor 0.6 basis points
        self.width = max(5 * instrument.bucket_size / instrument.tick_size, 2.0, self.start_price * 6e-5)
        self.walls: list[Wall] = []
        self._node_random = seeded(seed, instrument.symbol, "nodes")
        self._anomaly_random = seeded(seed, instrument.symbol, "anomalies")
        self._price = self.start_price
        self.nodes = Timeline(self._node, start)
        self.anomalies = Timeline(self._anomaly, start)
        self._wall = 0
        quote = 1.0 if price > 1.0 else BASE_PRICES.get(instrument.pair.partition("/")[2], 1.0)
        self.value_of_lot = price * quote * instrument.lot_size / 1e8

    @property
    def typical_level(self) -> float:
        """Mean quantity of a level in lots."""
        return max(15_000.0 / self.value_of_lot, 2.0)

    @property
    def reach(self) -> int:
        """Ticks between the best price and the far end of the book."""
        apart = max(1.2, 3.5e-6 * self.start_price)  # BTC: a level every 21 ticks, as recorded
        return int(min(self.settings.levels_per_side * apart, 0.5 * self.start_price))

    def wall_at(self, time: int) -> Wall | None:
        """The wall that stands at ``time``; times asked for must not decrease."""
        self.nodes.extend(time)
        walls = self.walls
        while self._wall < len(walls) and walls[self._wall].end <= time:
            self._wall += 1
        if self._wall < len(walls) and walls[self._wall].start <= time:
            return walls[self._wall]
        return None

    def _node(self, start: int) -> Node:
        random = self._node_random
        minutes = self.settings.node_minutes * random.uniform(0.6, 1.4)
        end = start + max(int(minutes * MINUTE), SETTLING + MINUTE)
        if self.nodes.periods:
            step = random.uniform(0.0012, 0.004) * self._price
            # back to where it began rather than away for ever
            down = 0.5 + 8.0 * (self._price / self.start_price - 1.0)
            self._price += -step if random.random() < down else step
        node = Node(start, end, self._price)
        wall_drawn, side_drawn, distance, size = random.random(4)
        if not self.derived and wall_drawn < self.settings.wall_share:
            self.walls.append(self._plan_wall(node, "bid" if side_drawn < 0.5 else "ask", distance, size))
        return node

    def _plan_wall(self, node: Node, side: str, distance: float, size: float) -> Wall:
        bucket = max(1, self.instrument.bucket_size // self.instrument.tick_size)
        away = (1.2 + 0.8 * distance) * self.width
        price = node.price - away if side == "bid" else node.price + away
        # one bucket away from the touch usually holds this many levels (their density falls with the distance)
        levels = max(1.0, bucket * self.settings.levels_per_side / (2.0 * (away * self.reach) ** 0.5))
        quantity = int((20.0 + 20.0 * size) * levels * self.typical_level)
        start = node.start + SETTLING
        return Wall(
            start // SECOND * SECOND, node.end // SECOND * SECOND, side, round(price / bucket) * bucket, quantity
        )

    def _anomaly(self, start: int) -> Anomaly:
        random = self._anomaly_random
        rate = self.settings.anomalies_per_day
        begin = start + int(random.exponential(DAY / rate) if rate > 0 else 400 * DAY) + 2 * MINUTE
        begin = begin // SECOND * SECOND
        end = begin + int(random.uniform(30, 90)) * SECOND
        kind = ANOMALY_KINDS[int(random.integers(len(ANOMALY_KINDS)))]
        direction = 1 if random.random() < 0.5 else -1
        if kind == "price_spike" and not self.derived:
            self.nodes.extend(end + HOUR)
            for wall in self.walls:  # a wall would hold the spike up: it goes the other way
                if wall.start < end and begin < wall.end:
                    direction = 1 if wall.side == "bid" else -1
        return Anomaly(begin, end, kind, direction)

    def truth(self, end: int) -> dict[str, list[dict[str, Any]]]:
        """What was planned up to ``end``."""
        self.nodes.extend(end)
        self.anomalies.extend(end)
        key, tick, lot = self.instrument.key, self.instrument.tick_size, self.instrument.lot_size
        return {
            "walls": [
                {
                    "instrument": key,
                    "side": wall.side,
                    "price": decimal_text(wall.price * tick),
                    "quantity": decimal_text(wall.quantity * lot),
                    "start": wall.start,
                    "end": min(wall.end, end),
                }
                for wall in self.walls
                if wall.start < end
            ],
            "nodes": [
                {
                    "instrument": key,
                    "price": decimal_text(round(node.price) * tick),
                    "start": node.start,
                    "end": min(node.end, end),
                }
                for node in self.nodes.periods
                if node.start < end and not self.derived
            ],
            "anomalies": [
                {
                    "instrument": key,
                    "kind": anomaly.kind,
                    "direction": anomaly.direction,
                    "start": anomaly.start,
                    "end": min(anomaly.end, end),
                }
                for anomaly in self.anomalies.periods
                if anomaly.start < end
            ],
        }


class MarketPlan:
    """Plan of all instruments: regimes and gaps of the venue, and one :class:`InstrumentPlan` each."""

    def __init__(self, instruments: Sequence[Instrument], *, start: int, seed: int, settings: FlowSettings) -> None:
        self.start = start
        self.seed = seed
        self.settings = settings
        self._regime_random = seeded(seed, "regimes")
        self._gap_random = seeded(seed, "gaps")
        self.regimes = Timeline(self._regime, start)
        self.gap_times = Timeline(self._gap, start)
        self.gap_symbols: list[str | None] = []
        self._symbols = [instrument.symbol for instrument in instruments]
        self.legs = {instrument.symbol: legs for instrument in instruments if (legs := _legs(instrument, instruments))}
        self.instruments = {
            instrument.symbol: InstrumentPlan(
                instrument,
                _base_price(instrument),
                start=start,
                seed=seed,
                settings=settings,
                derived=instrument.symbol in self.legs,
            )
            for instrument in instruments
        }

    def gaps_until(self, end: int) -> list[tuple[str, int, int]]:
        """Feed gaps (symbol, start, end) that begin before ``end``, in order."""
        self.gap_times.extend(end)
        drawn = zip(self.gap_symbols, self.gap_times.periods, strict=True)
        gaps = [*self.settings.planned_gaps, *((symbol, period.start, period.end) for symbol, period in drawn)]
        return sorted(
            (name, start, stop)
            for symbol, start, stop in gaps
            for name in ([symbol] if symbol else self._symbols)
            if start < end
        )

    def truth(self, end: int) -> dict[str, Any]:
        """Everything planned up to ``end``; prices and quantities as text, times µs UTC."""
        self.regimes.extend(end)
        answer: dict[str, Any] = {
            "seed": self.seed,
            "start": self.start,
            "end": end,
            "instruments": [plan.instrument.key for plan in self.instruments.values()],
            "walls": [],
            "nodes": [],
            "anomalies": [],
        }
        for plan in self.instruments.values():
            for name, rows in plan.truth(end).items():
                answer[name] += rows
        answer["regimes"] = [
            {"name": regime.name, "start": regime.start, "end": min(regime.end, end)}
            for regime in self.regimes.periods
            if regime.start < end
        ]
        answer["gaps"] = [
            {"instrument": self.instruments[symbol].instrument.key, "start": start, "end": min(stop, end)}
            for symbol, start, stop in self.gaps_until(end)
            if symbol in self.instruments
        ]
        return answer

    def _regime(self, start: int) -> Regime:
        random = self._regime_random
        before = self.regimes.periods[-1].name if self.regimes.periods else ""
        names = [name for name in REGIMES if name != before]
        return Regime(start, start + int(random.uniform(1, 4) * HOUR), names[int(random.integers(len(names)))])

    def _gap(self, start: int) -> Regime:
        random = self._gap_random
        rate = self.settings.gaps_per_day
        begin = start + int(random.exponential(DAY / rate) if rate > 0 else 400 * DAY) + 10 * MINUTE
        end = begin + int(random.uniform(20, 90) * SECOND)
        which = int(random.integers(len(self._symbols) + 1))
        self.gap_symbols.append(self._symbols[which] if which < len(self._symbols) else None)
        return Regime(begin, end, "gap")


def _legs(instrument: Instrument, instruments: Sequence[Instrument]) -> tuple[str, str] | None:
    """Instruments whose prices divide to this one's: the two other legs of a 3-cycle."""
    base, _, quote = instrument.pair.partition("/")
    quoted_in = {tuple(other.pair.split("/")): other.symbol for other in instruments if other is not instrument}
    for numerator, denominator in quoted_in:
        if numerator == base and (quote, denominator) in quoted_in:
            return quoted_in[numerator, denominator], quoted_in[quote, denominator]
    return None


def _base_price(instrument: Instrument) -> float:
    base, _, quote = instrument.pair.partition("/")
    return BASE_PRICES.get(base, 100.0) / BASE_PRICES.get(quote, 1.0)
