"""An anomaly as it leaves the system: the fields of an entry of the Redis stream ``anomalies``, and back.

Belongs here: the fields, both ways. Does not belong here: Redis (``services/live_lane/anomaly_publisher``), what other
systems call things (``memory_record``).

Every field's value is JSON: texts in quotes, times as integers in µs UTC, ``reasons`` as the JSON it is; what is absent
or no number is ``null``. The fields are those of ``anomalies.anomalies`` in their order.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from signal_assets.anomalies.tables import ANOMALIES
from signal_assets.machine import record_class
from signal_assets.table import Column, ColumnType

COLUMNS: Final = tuple(ANOMALIES.column(name) for name in ANOMALIES.value_columns)
DOCUMENTS: Final = ("reasons",)
"""Columns that hold JSON."""

_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "int64": (int,),
    "float64": (int, float),
    "bool": (bool,),
}


class AnomalyRecordError(ValueError):
    """Fields are not those of an anomaly."""


def anomaly_fields(anomaly: Any) -> dict[str, str]:
    """Fields of the stream's entry.

    Parameters
    ----------
    anomaly : tuple
        A row of ``anomalies.anomalies`` in the order of its value columns.
    """
    return {column.name: _text(column.name, value) for column, value in zip(COLUMNS, anomaly, strict=True)}


def parse_anomaly(fields: Mapping[str, str | bytes]) -> Any:
    """The record that :func:`anomaly_fields` was given; fields that are not known are passed over.

    Raises
    ------
    AnomalyRecordError
        If a field is absent or not what it should be, naming it.
    """
    return record_class(ANOMALIES)._make([_value(column, fields) for column in COLUMNS])


def _text(name: str, value: Any) -> str:
    if name in DOCUMENTS:
        return str(value)
    # NaN is not equal to itself; an infinite number is none in JSON either.
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "null"
    return json.dumps(value, ensure_ascii=False)


def _value(column: Column, fields: Mapping[str, str | bytes]) -> Any:
    try:
        text = fields[column.name]
        value = json.loads(text)
    except KeyError:
        raise AnomalyRecordError(f"an anomaly without the field {column.name}") from None
    except ValueError:
        raise AnomalyRecordError(f"field {column.name} is no JSON: {fields[column.name]!r:.60}") from None
    if column.name in DOCUMENTS:
        return text if isinstance(text, str) else text.decode()
    if value is None and (column.nullable or column.type is ColumnType.REAL):
        return None if column.nullable else math.nan
    if not _is(column.type.dtype, value):
        raise AnomalyRecordError(f"field {column.name} is no {column.type.name.lower()}: {value!r:.60}")
    return float(value) if column.type is ColumnType.REAL else value


def _is(dtype: str, value: object) -> bool:
    return isinstance(value, _KINDS[dtype]) and (dtype == "bool" or not isinstance(value, bool))
