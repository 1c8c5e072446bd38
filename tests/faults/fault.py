"""A fault, and a plan of faults that follows from a seed.

Belongs here: what may go wrong, and drawing it. Does not belong here: doing it (``injector``).
"""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PROCESSES: Final = ("live_lane", "worker_tactical", "code_server", "daemon", "redis", "postgres")
EVERYTHING: Final = "all"
"""All of :data:`PROCESSES` at once."""

VENUE: Final = "venue"
LAKE: Final = "lake"
CLOCK: Final = "clock"


class Kind(StrEnum):
    """What may go wrong."""

    KILL = "kill -9"
    KILL_BEFORE_WRITE = "kill -9 before its write"
    """Right before the worker's next commit to the lake, or the live lane's next flush to Redis."""
    KILL_AFTER_WRITE = "kill -9 after its write"
    PAUSE = "stop and continue"
    PAUSE_IN_WRITE = "stop in its write and continue"
    CUT = "connections cut"
    FULL_DISK = "disk full"
    SLOW_DISK = "slow disk"
    CLOCK_JUMP = "clock jumps"


LASTING: Final = (Kind.PAUSE, Kind.PAUSE_IN_WRITE, Kind.FULL_DISK, Kind.SLOW_DISK)
WRITERS: Final = ("live_lane", "worker_tactical")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Parameters
    ----------
    kind, target
        What happens to which part.
    at
        Seconds after the first data has come through.
    seconds
        How long it lasts; of a clock, by how much it jumps (and stays wrong).
    """

    kind: Kind
    target: str
    at: float
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" {self.seconds:+.0f} s" if self.kind is Kind.CLOCK_JUMP else ""
        lasting = f" for {self.seconds:.1f} s" if self.kind in LASTING or self.kind is Kind.CUT else lasting
        return f"{self.at:.1f} s: {self.target} {self.kind.value}{lasting}"


@dataclass(frozen=True)
class Plan:
    """Faults, one after the other."""

    seed: int
    faults: tuple[Fault, ...]

    @property
    def needs_mount(self) -> bool:
        """Whether the lake must lie on a small file system of its own."""
        return any(fault.kind is Kind.FULL_DISK for fault in self.faults)

    def __str__(self) -> str:
        return f"plan {self.seed}: " + "; ".join(str(fault) for fault in self.faults)


FIRST_SECONDS: Final = 4.0
SPACING_SECONDS: Final = 13.0
FAULTS: Final = 3
JITTER_SECONDS: Final = 4.0
SHORTEST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 12.0
"""Longer than a run's lease, so that a run is believed lost while its worker only sleeps."""
JUMPS: Final = (-7200.0, -90.0, -8.0, 8.0, 90.0, 7200.0)


def possible(can_mount: bool) -> list[tuple[Kind, str]]:
    """Everything that may be drawn."""
    killed = [(Kind.KILL, target) for target in (*PROCESSES, EVERYTHING)]
    in_write = [(kind, target) for kind in (Kind.KILL_BEFORE_WRITE, Kind.KILL_AFTER_WRITE) for target in WRITERS]
    paused = [(Kind.PAUSE, target) for target in (*PROCESSES, EVERYTHING)]
    stopped = [(Kind.PAUSE_IN_WRITE, target) for target in WRITERS]
    cut = [(Kind.CUT, target) for target in ("redis", "postgres", VENUE)]
    disk = [(Kind.SLOW_DISK, LAKE), *([(Kind.FULL_DISK, LAKE)] if can_mount else [])]
    return [*killed, *in_write, *paused, *stopped, *cut, *disk, (Kind.CLOCK_JUMP, CLOCK)]


def draw(seed: int, *, can_mount: bool) -> Plan:
    """The plan of a seed: three faults with quiet time between them.

    Examples
    --------
    >>> draw(7, can_mount=True) == draw(7, can_mount=True)
    True
    >>> len(draw(7, can_mount=False).faults)
    3
    """
    chance = random.Random(seed)
    choices = possible(can_mount)
    faults = []
    # Three kinds, all equally likely, however many targets one has.
    for number, kind in enumerate(chance.sample(sorted({kind for kind, _ in choices}), FAULTS)):
        at = FIRST_SECONDS + number * SPACING_SECONDS + chance.uniform(0.0, JITTER_SECONDS)
        faults.append(_drawn(chance, *chance.choice([choice for choice in choices if choice[0] is kind]), at))
    return Plan(seed, tuple(faults))


def _drawn(chance: random.Random, kind: Kind, target: str, at: float) -> Fault:
    length = chance.uniform(SHORTEST_SECONDS, LONGEST_SECONDS)
    jump = chance.choice(JUMPS)
    if kind in LASTING:
        return Fault(kind, target, at, length)
    if kind is Kind.CUT:
        return Fault(kind, target, at, length / 3)
    return Fault(kind, target, at, jump if kind is Kind.CLOCK_JUMP else 0.0)
