"""What a fold is made of: a state machine that is stepped through event time, and whose state can be kept.

Belongs here: the interface that detectors, strategies, validation, broker and accounts share, and how a state becomes
text. Does not belong here: any machine (the stages), where states are kept (``resources/lake``), who steps them
(``signal_assets/fold`` for runs, ``services/live_lane`` for the live lane).
"""

import base64
import json
import zlib
from collections import namedtuple
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, Protocol

import numpy as np

from signal_assets.table import Table

Events = Mapping[str, Sequence[Any]]
"""What happened at one time: by table name, records (see :func:`record_class`) ordered by instrument and key."""

Rows = Mapping[str, Sequence[tuple[Any, ...]]]
"""What came of it: by table name, tuples in the order of ``Table.value_columns``."""

DEFLATED: Final = 1_024
"""Bytes from which an array is kept compressed: long pasts hold the same numbers again and again."""


class Machine(Protocol):
    """A causal state machine of one group of instruments: ``state, rows = step(state, events)``.

    The same object runs in both lanes. Whatever it returns depends on the events it was handed and their order alone:
    no clock, no chance, no look at how the work was cut. Every row it returns bears the time of the step.
    """

    def begin_day(self, start: int, in_force: Mapping[str, Sequence[Any]]) -> None:
        """Take what is in force on the day that begins at ``start`` (µs UTC).

        Called before the day's first step, and again after :meth:`restore`: it may set what is in force, nothing else.

        Parameters
        ----------
        in_force : mapping of str to sequence
            By table name, all versions whose ``valid_from`` is not after ``start``, in that order.
        """

    def step(self, time: int, events: Events) -> Rows:
        """Take in everything that happened at ``time`` (µs UTC, ascending from call to call)."""

    def state(self) -> dict[str, Any]:
        """All it remembers, in what :func:`encode_state` takes."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state` gave; what follows is the same to the bit."""


@cache
def record_class(table: Table) -> type[Any]:
    """Named tuple of a table's value columns, in their order; absent values are None.

    Examples
    --------
    >>> from signal_assets.market.tables import FEED_GAPS
    >>> record_class(FEED_GAPS)._fields
    ('instrument', 'feed', 'gap_start', 'gap_end', 'reason')
    """
    return namedtuple(table.short_name.title().replace("_", ""), table.value_columns)


def encode_state(state: Mapping[str, Any]) -> str:
    """A state as JSON: texts, numbers (to the bit, NaN too), lists, mappings with text keys, int64/float64 arrays."""
    return json.dumps(state, default=_array, separators=(",", ":"))


def decode_state(text: str) -> dict[str, Any]:
    """The state that :func:`encode_state` was given; tuples come back as lists.

    Examples
    --------
    >>> decode_state(encode_state({"window": np.array([0.1, np.nan]), "cash": 10**20}))["window"].tolist()
    [0.1, nan]
    """
    decoded: dict[str, Any] = json.loads(text, object_hook=_from_array)
    return decoded


def _array(value: object) -> dict[str, Any]:
    if isinstance(value, np.ndarray) and value.dtype in (np.int64, np.float64) and value.ndim <= 2:
        kind = "int64" if value.dtype == np.int64 else "float64"
        data, held = np.ascontiguousarray(value).tobytes(), "data"
        if len(data) >= DEFLATED:
            data, held = zlib.compress(data, 1), "deflated"
        return {"array": kind, "shape": list(value.shape), held: base64.b64encode(data).decode("ascii")}
    if isinstance(value, np.generic):
        raise TypeError(f"a state holds plain Python numbers, not {type(value).__name__}: {value!r}")
    raise TypeError(f"a state cannot hold a {type(value).__name__}")


def _from_array(value: dict[str, Any]) -> Any:
    if value.keys() == {"array", "shape", "deflated"}:
        data = zlib.decompress(base64.b64decode(value["deflated"]))
    elif value.keys() == {"array", "shape", "data"}:
        data = base64.b64decode(value["data"])
    else:
        return value
    return np.frombuffer(data, dtype=value["array"]).reshape(value["shape"]).copy()
