"""What every strategy's account and the portfolio are worth, at each minute and at each day's end.

Belongs here: accounts at average cost, marked to the market. Does not belong here: the rule of average cost
(``execution.positions``), closed trades (``trade_log``), metrics.

**Minutes.** Rows of ``performance.equity`` exist at steps whose time is a multiple of a minute: of every strategy that
was given capital or ever had a fill, by name, then of the portfolio, which is all of them and what of the starting
balance was given to nobody. Whatever happens at that time is in.

**Days.** A step at midnight sharp closes the day. If there is none – the feed had a gap – the first step after it
closes the day late, **at its own time and with the equity of the day's last minute**; what happened after that minute
counts for the next day. When that first step is a midnight itself, one row closes everything up to it. Returns and sums
therefore always join: the product of all (1 + day_return) is equity over start capital. The share of exposed minutes is
taken over the minutes that have rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

from signal_assets.event_time import DAY, MINUTE, day_end
from signal_assets.execution.broker import BUY, SELL
from signal_assets.execution.positions import Position
from signal_assets.execution.tables import FILLS
from signal_assets.instrument import Instrument, whole_group
from signal_assets.machine import Events, Rows
from signal_assets.market.tables import FEATURES
from signal_assets.performance.marks import Marks
from signal_assets.performance.parameters import PORTFOLIO, PerformanceParameters
from signal_assets.performance.tables import DAILY_EQUITY, EQUITY
from signal_assets.performance.trade_log import in_order


class Valuation(NamedTuple):
    """An account at one time; account currency, units of 1e-8. Fields in the order of the table's columns."""

    equity: int
    realized: int
    unrealized: int
    fees: int
    exposure: int
    traded: int


class _Account:
    """One strategy's positions and what it has traded."""

    def __init__(self, capital: int) -> None:
        self.capital = capital
        self.traded = 0
        self.positions: dict[str, Position] = {}

    def book(self, fill: Any) -> None:
        position = self.positions.setdefault(fill.instrument, Position(fill.strategy, fill.instrument))
        position.book(BUY if fill.side == "buy" else SELL, fill.quantity, fill.notional, fill.fee)
        self.traded += fill.notional

    def valuation(self, marks: Marks) -> Valuation:
        realized = unrealized = fees = exposure = 0
        for position in self.positions.values():
            realized += position.realized
            fees += position.fees
            if position.quantity:
                value = marks.value(position.instrument, position.quantity)
                unrealized += value - position.cost
                exposure += abs(value)
        return Valuation(self.capital + realized + unrealized - fees, realized, unrealized, fees, exposure, self.traded)


@dataclass(slots=True)
class _Day:
    """What has been seen of the day that is not closed yet."""

    equity_before: int
    traded_before: int = 0
    minutes: int = 0
    exposed_minutes: int = 0
    equity: int = 0
    traded: int = 0

    def take(self, valuation: Valuation) -> None:
        self.minutes += 1
        self.exposed_minutes += valuation.exposure > 0
        self.equity, self.traded = valuation.equity, valuation.traded

    def close(self) -> tuple[int, float, float, int]:
        """Equity, return, share of exposed minutes and sum traded; the next day begins."""
        day_return = self.equity / self.equity_before - 1.0 if self.equity_before > 0 else float("nan")
        closed = (self.equity, day_return, self.exposed_minutes / self.minutes, self.traded - self.traded_before)
        self.equity_before, self.traded_before, self.minutes, self.exposed_minutes = self.equity, self.traded, 0, 0
        return closed


class EquityMachine:
    """Writes ``performance.equity`` on the minute grid and ``performance.daily_equity`` at each day's end.

    Parameters
    ----------
    instruments : sequence of Instrument
        The group.
    """

    def __init__(self, instruments: Sequence[Instrument], parameters: PerformanceParameters) -> None:
        self._group = whole_group(instruments[0].group)
        self._idle = parameters.starting_balance - sum(parameters.start_capital.values())
        self._marks = Marks(instruments, parameters.account_currency)
        self._accounts = {name: _Account(capital) for name, capital in parameters.start_capital.items()}
        self._days = {name: _Day(capital) for name, capital in parameters.start_capital.items()}
        self._days[PORTFOLIO] = _Day(parameters.starting_balance)
        self._open_until: int | None = None

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        """Nothing is in force here."""

    def step(self, time: int, events: Events) -> Rows:
        """Take in prices, then fills; value the accounts if a minute ends."""
        rows: dict[str, list[tuple[Any, ...]]] = {}
        if self._open_until is not None and time > self._open_until and time % DAY:
            rows[DAILY_EQUITY.name] = self._close_day(time)
        for record in events.get(FEATURES.name, ()):
            self._marks.take(record.instrument, record)
        for fill in in_order(events.get(FILLS.name, ())):
            if fill.strategy not in self._accounts:
                self._accounts[fill.strategy], self._days[fill.strategy] = _Account(0), _Day(0)
            self._accounts[fill.strategy].book(fill)
        if time % MINUTE == 0:
            rows[EQUITY.name] = self._minute(time)
            self._open_until = day_end(time)
        if time % DAY == 0:
            rows[DAILY_EQUITY.name] = self._close_day(time)
        return rows

    def _minute(self, time: int) -> list[tuple[Any, ...]]:
        valuations = {name: self._accounts[name].valuation(self._marks) for name in sorted(self._accounts)}
        total = Valuation(*(sum(column) for column in zip(*valuations.values(), strict=True)))
        valuations[PORTFOLIO] = total._replace(equity=self._idle + total.equity)
        for name, valuation in valuations.items():
            self._days[name].take(valuation)
        return [(name, self._group, time, *valuation) for name, valuation in valuations.items()]

    def _close_day(self, time: int) -> list[tuple[Any, ...]]:
        self._open_until = None
        names = [*sorted(self._accounts), PORTFOLIO]
        return [(name, self._group, time, *self._days[name].close()) for name in names if self._days[name].minutes]

    def state(self) -> dict[str, Any]:
        """Prices, accounts, the day that is open."""
        return {
            "prices": self._marks.state(),
            "accounts": [
                [
                    name,
                    account.capital,
                    account.traded,
                    [account.positions[key].state() for key in sorted(account.positions)],
                ]
                for name, account in sorted(self._accounts.items())
            ],
            "days": [[name, *astuple(day)] for name, day in sorted(self._days.items())],
            "open_until": self._open_until,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._marks.restore(state["prices"])
        self._accounts = {}
        for name, capital, traded, positions in state["accounts"]:
            account = self._accounts[name] = _Account(capital)
            account.traded = traded
            account.positions = {held.instrument: held for held in map(Position.restored, positions)}
        self._days = {name: _Day(*fields) for name, *fields in state["days"]}
        self._open_until = state["open_until"]
