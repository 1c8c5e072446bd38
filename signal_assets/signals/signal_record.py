"""A signal as it leaves the system: the fields of an entry of the Redis stream ``signals``, and back.

Belongs here: the fields, both ways, and the row of ``signals.emitted``. Does not belong here: Redis, who sends.

Every field's value is JSON: texts in quotes, money as decimal text in quotes (``"61737.63000000"``), times as integers
in µs UTC, ``legs``, ``reasons`` and ``metadata`` as the JSON they are; what is absent is ``null``. The fields are those
of ``signals.signals`` in their order, and ``emitted_at`` and ``lane``.
"""

import json
import math
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple

from signal_assets.fixed_point import FixedPointError, format_fixed, parse_fixed
from signal_assets.machine import record_class
from signal_assets.signals.tables import EMITTED, SIGNALS
from signal_assets.table import ColumnType

COLUMNS: Final = tuple(SIGNALS.column(name) for name in SIGNALS.value_columns)
DOCUMENTS: Final = ("legs", "reasons", "metadata")
"""Columns that hold JSON."""


class SignalRecordError(ValueError):
    """Fields are not those of an emitted signal."""


class EmittedSignal(NamedTuple):
    """A signal (record of ``signals.signals``), when it left by the sender's clock, and by which lane."""

    signal: Any
    emitted_at: int
    lane: str


def signal_fields(emitted: EmittedSignal) -> dict[str, str]:
    """Fields of the stream's entry."""
    fields = {
        column.name: _text(column.name, column.type, value)
        for column, value in zip(COLUMNS, emitted.signal, strict=True)
    }
    return fields | {"emitted_at": str(emitted.emitted_at), "lane": json.dumps(emitted.lane)}


def parse(fields: Mapping[str, str | bytes]) -> EmittedSignal:
    """What :func:`signal_fields` was given; fields that are not known are passed over.

    Raises
    ------
    SignalRecordError
        If a field is absent or not what it should be, naming it.
    """
    values = [_value(column.name, column.type, column.nullable, fields) for column in COLUMNS]
    emitted_at = _value("emitted_at", ColumnType.TIME, False, fields)
    lane = _value("lane", ColumnType.TEXT, False, fields)
    return EmittedSignal(record_class(SIGNALS)._make(values), emitted_at, lane)


def emitted_row(fields: Mapping[str, str | bytes]) -> tuple[Any, ...]:
    """The entry as a row of ``signals.emitted``, in the order of all its columns.

    Raises
    ------
    SignalRecordError
        As :func:`parse`.
    """
    signal, emitted_at, lane = parse(fields)
    sent = {name: json.loads(text) for name, text in fields.items()}
    values = {name: getattr(signal, name) for name in ("id", "instrument", "strategy", "action", "event_time")}
    values |= {"expires_at": signal.expires_at, "confidence": signal.confidence}
    values |= {"emitted_at": emitted_at, "lane": lane}
    values |= {"payload": json.dumps(sent, separators=(",", ":"), ensure_ascii=False)}
    return tuple(values[column.name] for column in EMITTED.columns)


def _text(name: str, kind: ColumnType, value: Any) -> str:
    if name in DOCUMENTS:
        return str(value)
    if value is None or value != value:
        return "null"
    if kind.is_money:
        return f'"{format_fixed(value)}"'
    # What json.dumps(…, ensure_ascii=False) gives, without making an encoder for each of a signal's thirty texts.
    return encode_basestring(value) if isinstance(value, str) else json.dumps(value)


def _value(name: str, kind: ColumnType, nullable: bool, fields: Mapping[str, str | bytes]) -> Any:
    try:
        text = fields[name]
        value = json.loads(text)
    except KeyError:
        raise SignalRecordError(f"a signal without the field {name}") from None
    except ValueError:
        raise SignalRecordError(f"field {name} is no JSON: {fields[name]!r:.60}") from None
    if name in DOCUMENTS:
        return text if isinstance(text, str) else text.decode()
    if value is None and (nullable or kind is ColumnType.REAL):
        return None if nullable else math.nan
    try:
        return _typed(kind, value)
    except (FixedPointError, TypeError):
        raise SignalRecordError(f"field {name} is no {kind.name.lower()}: {value!r:.60}") from None


def _typed(kind: ColumnType, value: Any) -> Any:
    if kind.is_money:
        return parse_fixed(value)
    wanted = {ColumnType.TEXT: str, ColumnType.TIME: int, ColumnType.REAL: int | float}[kind]
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise TypeError
    return float(value) if kind is ColumnType.REAL else value
