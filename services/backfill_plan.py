"""How a back-fill is cut into runs, and which of them wait for which.

Belongs here: pieces and their order, from the asset graph alone. Does not belong here: launching and watching them
(``backfills``).

Window tables of different days do not depend on each other, so each stretch of days is a run of its own, for as many
workers as there are. Tables that look back at other days of window tables are a further tier: they wait for those days.
Everything that has a memory, and what is made of that, follows day by day in order.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil
from typing import Any, Final

from dagster import AssetKey, TimeWindowPartitionMapping

from resources.platform_tables import RAW_STAGE

RUNS_PER_TIER: Final = 32
"""A longer back-fill has longer stretches rather than more runs."""
LONGEST_STRETCH: Final = 7


@dataclass(frozen=True, slots=True)
class Piece:
    """One run: these assets over these days, once the named pieces are done."""

    name: str
    days: tuple[date, ...]
    assets: frozenset[AssetKey]
    needs: frozenset[str]


def plan(graph: Any, assets: Collection[AssetKey], days: Sequence[date]) -> list[Piece]:
    """Pieces of a back-fill, each behind all that it needs.

    Parameters
    ----------
    graph : dagster.AssetGraph
        Of the code location.
    assets : collection of AssetKey
        What is recomputed; tables that are written together must be in it together.
    days : sequence of date
        Ascending, without holes.
    """
    tiers: dict[int, set[AssetKey]] = {}
    follow: set[AssetKey] = set()
    tier_of = window_tiers(graph)
    for key in assets:
        tier = tier_of(key)
        (follow if tier is None else tiers.setdefault(tier, set())).add(key)
    pieces: list[Piece] = []
    for number, tier in enumerate(sorted(tiers), start=1):
        below = list(pieces)
        for stretch in stretches(days):
            name = f"windows {number} of {_span(stretch)}"
            # All days up to these, not only those looked back at: progress passes no day that is missing.
            needs = frozenset(piece.name for piece in below if piece.days[0] <= stretch[-1])
            pieces.append(Piece(name, stretch, frozenset(tiers[tier]), needs))
    windows, before = list(pieces), frozenset[str]()
    for day in days if follow else ():
        needs = before | {piece.name for piece in windows if piece.days[0] <= day}
        pieces.append(Piece(f"folds of {day}", (day,), frozenset(follow), needs))
        before = frozenset({pieces[-1].name})
    return pieces


def chains(pieces: Sequence[Piece]) -> dict[str, int]:
    """How many pieces at most come one after another behind each; what has the longest chain behind it should go first.

    Source: Hu (1961), "Parallel Sequencing and Assembly Line Problems", Operations Research 9(6).

    Parameters
    ----------
    pieces : sequence of Piece
        Each behind all that it needs.

    Examples
    --------
    >>> needs = {"a": (), "b": ("a",), "c": ("a", "b"), "d": ()}
    >>> chains([Piece(name, (), frozenset(), frozenset(before)) for name, before in needs.items()])
    {'a': 2, 'b': 1, 'c': 0, 'd': 0}
    """
    behind = {piece.name: 0 for piece in pieces}
    for piece in reversed(pieces):
        for need in piece.needs:
            behind[need] = max(behind[need], behind[piece.name] + 1)
    return behind


def stretches(days: Sequence[date]) -> list[tuple[date, ...]]:
    """Days that one run of window tables takes: one, more where there would be too many runs.

    Examples
    --------
    >>> from datetime import timedelta
    >>> many = [date(2024, 1, 1) + timedelta(days=number) for number in range(100)]
    >>> [len(stretch) for stretch in stretches(many[:4])], len(stretches(many)), len(stretches(many)[0])
    ([1, 1, 1, 1], 25, 4)
    """
    size = min(LONGEST_STRETCH, ceil(len(days) / RUNS_PER_TIER))
    return [tuple(days[start : start + size]) for start in range(0, len(days), size)]


def window_tiers(graph: Any) -> Callable[[AssetKey], int | None]:
    """Tells the tier of an asset: 0 is made of raw rows, each look-back at another window table's days is one more.

    None: it has a memory, or is made of something that has one.
    """
    known: dict[AssetKey, int | None] = {}

    def tier_of(key: AssetKey) -> int | None:
        if key not in known:
            known[key] = _tier(graph.get(key), graph, tier_of)
        return known[key]

    return tier_of


def _tier(node: Any, graph: Any, tier_of: Callable[[AssetKey], int | None]) -> int | None:
    policy = node.backfill_policy
    if policy is None or policy.max_partitions_per_run is not None:
        return None
    tier = 0
    for key in node.parent_keys:
        parent = graph.get(key)
        if not parent.is_materializable:
            return None
        if parent.group_name == RAW_STAGE:
            continue
        below = tier_of(key)
        if below is None:
            return None
        tier = max(tier, below + _looks_back(node.partition_mappings.get(key)))
    return tier


def _looks_back(mapping: Any) -> bool:
    return isinstance(mapping, TimeWindowPartitionMapping) and mapping.start_offset < 0


def _span(days: Sequence[date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
