"""A strategy as a machine: steps it, turns what it proposes into rows, and keeps its failures from others.

Belongs here: the row of a candidate and of a failure. Does not belong here: what is proposed (the strategies), a whole
frame at once (``evaluation``).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from signal_assets.content_id import content_id
from signal_assets.fixed_point import format_fixed
from signal_assets.machine import Events, Rows, record_class
from signal_assets.market.tables import FEATURES
from signal_assets.strategies.strategy import Candidate, Leg, Strategy, parameters_version
from signal_assets.strategies.tables import strategy_table


class StrategyMachine:
    """One strategy of one group, stepped by features rows.

    A strategy that raises becomes a row with action ``hold`` and the failure as text, in both lanes alike, and is
    stepped again the next time: whatever it had taken in of that step stays taken in.

    Parameters
    ----------
    strategy : Strategy
        New and cold.

    Attributes
    ----------
    failures : dict of str to int
        How often the strategy has raised in this process, by its name; no part of the state.
    last_failure : dict of str to str
        What it said last.
    """

    def __init__(self, strategy: Strategy[Any]) -> None:
        self.strategy = strategy
        self.failures: dict[str, int] = {}
        self.last_failure: dict[str, str] = {}
        self._table = strategy_table(strategy.name)
        self._record = record_class(self._table)
        self._parameters_version = parameters_version(strategy.parameters)

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        """Nothing: parameters come from the configuration."""

    def step(self, time: int, events: Events) -> Rows:
        """Rows of what the strategy proposes at ``time``."""
        records = events.get(FEATURES.name)
        if not records:
            return {}
        try:
            candidates = self.strategy.step(time, {record.instrument: record for record in records})
            rows = [self._row(time, candidate) for candidate in candidates]
        except Exception as error:  # a plug-in: whatever it raises is its failure and must not stop the others
            rows = [self._failure(time, error)]
        return {self._table.name: rows} if rows else {}

    def state(self) -> dict[str, Any]:
        """The strategy's state."""
        return self.strategy.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the strategy's state."""
        self.strategy.restore(state)

    def _row(self, time: int, candidate: Candidate, identity: str = "", failure: str = "") -> tuple[Any, ...]:
        strategy, version = self.strategy, self._parameters_version
        legs = _json([_written(leg) for leg in candidate.legs])
        what = legs if candidate.legs else candidate.instrument
        made: tuple[Any, ...] = self._record(
            id=identity or content_id(strategy.name, what, candidate.timeframe, time, candidate.action, version),
            strategy=strategy.name,
            family=strategy.family,
            tier=strategy.tier,
            instrument=candidate.instrument,
            timeframe=candidate.timeframe,
            event_time=time,
            action=candidate.action,
            order_type=candidate.order_type,
            legs=legs,
            entry_price=candidate.entry_price,
            stop_loss=candidate.stop_loss,
            take_profit=candidate.take_profit,
            quantity=candidate.quantity,
            raw_confidence=candidate.raw_confidence,
            metadata=_json(candidate.metadata),
            parameters_version=version,
            failure=failure,
        )
        return made

    def _failure(self, time: int, error: Exception) -> tuple[Any, ...]:
        name = self.strategy.name
        text = " ".join(f"{type(error).__name__}: {error}".split())
        self.failures[name] = self.failures.get(name, 0) + 1
        self.last_failure[name] = text
        first = self.strategy.instruments[0].key
        nothing = Candidate(first, "grid", "hold", entry_price=0, raw_confidence=0.0)
        return self._row(time, nothing, identity=content_id(name, first, time, "failure"), failure=text)


def _written(leg: Leg) -> dict[str, Any]:
    return {
        "instrument": leg.instrument,
        "side": leg.side,
        "quantity": format_fixed(leg.quantity),
        "limit_price": None if leg.limit_price is None else format_fixed(leg.limit_price),
    }


def _json(value: object) -> str:
    """Canonical text: sorted keys, no blanks, floats by ``repr``; NaN and ∞ are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
