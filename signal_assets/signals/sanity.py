"""Sanity: what a proposal must be before anybody asks whether it is good.

Belongs here: sides, positive risk, ticks, lots, known instruments, readable texts. Does not belong here: judgement.

A single order needs a stop and a target, on the right sides: ``stop < entry < target`` for a buy, the other way round
for a sell, so its risk is positive. Orders that belong together (legs) and arbitrages need neither: what they risk is
not a distance from the entry.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from signal_assets.fixed_point import FixedPointError, format_fixed, parse_fixed
from signal_assets.instrument import Instrument
from signal_assets.signals.proposal import ARBITRAGE, Proposal

PROFIT_FRACTION: Final = "profit_fraction"
"""Field of an arbitrage's metadata: profit after fees over what goes round, as a fraction."""

DIRECTIONS: Final = {"buy": 1, "sell": -1}


class SanityError(ValueError):
    """A proposal nobody can act on; the text is the reason it is rejected for."""


def sound_proposal(record: Any, instruments: Mapping[str, Instrument]) -> Proposal:
    """Read a strategy's record.

    Parameters
    ----------
    record : named tuple
        Row of a strategy's table without failure; money in units of 1e-8.
    instruments : mapping of str to Instrument
        The group's, by key.

    Raises
    ------
    SanityError
        At the first thing that is wrong, naming it.
    """
    instrument = _known(record.instrument, instruments)
    legs = _legs(record, instruments)
    if not (math.isfinite(record.raw_confidence) and 0 <= record.raw_confidence <= 1):
        raise SanityError(f"raw confidence {record.raw_confidence} is not in 0…1")
    if not legs and record.action not in DIRECTIONS:
        raise SanityError(f"action {record.action} without legs is nothing to act on")
    _on_lot("quantity", record.quantity, instrument)
    for name in ("entry_price", "stop_loss", "take_profit"):
        if getattr(record, name) is not None:
            _on_tick(name, getattr(record, name), instrument)
    profit = _profit_percent(record) if record.family == ARBITRAGE else None
    single = not legs and profit is None
    return Proposal(
        record=record,
        instrument=instrument,
        involved=tuple(dict.fromkeys((record.instrument, *legs))),
        direction=DIRECTIONS[record.action] if single else 0,
        reward_to_risk=_reward_to_risk(record) if single else None,
        profit_percent=profit,
    )


def _reward_to_risk(record: Any) -> float:
    if record.stop_loss is None or record.take_profit is None:
        raise SanityError("a single order needs a stop and a target")
    sign = DIRECTIONS[record.action]
    risk, reward = sign * (record.entry_price - record.stop_loss), sign * (record.take_profit - record.entry_price)
    if risk <= 0:
        raise SanityError(f"stop {_text(record.stop_loss)} of a {record.action} at {_text(record.entry_price)}")
    if reward <= 0:
        raise SanityError(f"target {_text(record.take_profit)} of a {record.action} at {_text(record.entry_price)}")
    return float(reward / risk)


def _profit_percent(record: Any) -> float:
    metadata = _parsed("metadata", record.metadata, dict)
    fraction = metadata.get(PROFIT_FRACTION)
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not math.isfinite(fraction):
        raise SanityError(f"an arbitrage needs a number {PROFIT_FRACTION} in its metadata")
    return 100.0 * fraction


def _legs(record: Any, instruments: Mapping[str, Instrument]) -> Sequence[str]:
    """Keys of the legs' instruments, each leg found sound."""
    keys = []
    for leg in _parsed("legs", record.legs, list):
        if not isinstance(leg, dict):
            raise SanityError(f"leg {leg!r} is no mapping")
        instrument = _known(leg.get("instrument"), instruments)
        if leg.get("side") not in DIRECTIONS:
            raise SanityError(f"side {leg.get('side')} of the leg {instrument.key}")
        _on_lot(f"quantity of the leg {instrument.key}", _money(leg.get("quantity")), instrument)
        if leg.get("limit_price") is not None:
            _on_tick(f"limit price of the leg {instrument.key}", _money(leg["limit_price"]), instrument)
        keys.append(instrument.key)
    return keys


def _known(key: Any, instruments: Mapping[str, Instrument]) -> Instrument:
    if key not in instruments:
        raise SanityError(f"unknown instrument {key}")
    return instruments[key]


def _parsed(name: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise SanityError(f"{name} is no JSON {'list' if kind is list else 'object'}")
    return value


def _money(text: Any) -> int:
    try:
        return parse_fixed(text)
    except FixedPointError as error:
        raise SanityError(str(error)) from None


def _on_tick(name: str, price: int, instrument: Instrument) -> None:
    if price <= 0:
        raise SanityError(f"{name} {_text(price)} is not positive")
    if price % instrument.tick_size:
        raise SanityError(f"{name} {_text(price)} is off the tick {_text(instrument.tick_size)}")


def _on_lot(name: str, quantity: int, instrument: Instrument) -> None:
    if quantity < 0:
        raise SanityError(f"{name} {_text(quantity)} is negative")
    if quantity % instrument.lot_size:
        raise SanityError(f"{name} {_text(quantity)} is off the lot {_text(instrument.lot_size)}")


def _text(money: int) -> str:
    return format_fixed(money).rstrip("0").rstrip(".")
