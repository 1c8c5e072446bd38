"""What a back-fill does about runs that succeed, fail, are lost or overtaken, and when nobody is there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from dagster import AssetKey, DagsterRun, DagsterRunStatus

from resources.run_queues import BACKFILL
from resources.worker_register import WorkerEntry
from services import backfills
from services.backfill_plan import Piece
from services.backfill_runs import PIECE_TAG
from services.backfills import MOST_ATTEMPTS, BackfillError, RunningBackfill, Step

KEY = AssetKey(["aggregates", "dollar_trades"])
DAY = date(2025, 1, 7)
SUCCESS, FAILURE, CANCELED = DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED


def piece(name: str, *needs: str) -> Piece:
    return Piece(name, (DAY,), frozenset({KEY}), frozenset(needs))


@dataclass
class ScriptedRuns:
    """Runs that end as the script says, each time one looks; what is not in it succeeds."""

    script: dict[str, list[tuple[DagsterRunStatus, str | None]]] = field(default_factory=dict)
    processes: int = 1
    ends: bool = True
    submitted: list[str] = field(default_factory=list)
    under_way: dict[str, str] = field(default_factory=dict)
    most: int = 0
    reasons: dict[str, str | None] = field(default_factory=dict)
    taken_back: list[str] = field(default_factory=list)
    earlier: list[DagsterRun] = field(default_factory=list)

    def submit(self, piece: Piece, identifier: str) -> str:
        run_id = f"{len(self.submitted):08d}"
        self.submitted.append(piece.name)
        self.under_way[run_id] = piece.name
        self.most = max(self.most, len(self.under_way))
        return run_id

    def of(self, identifier: str) -> list[DagsterRun]:
        return self.earlier

    def with_ids(self, run_ids: list[str]) -> list[DagsterRun]:
        found = []
        for run_id in run_ids if self.ends else ():
            name = self.under_way.pop(run_id)
            status, self.reasons[run_id] = (self.script.get(name) or [(SUCCESS, None)])[0]
            self.script[name] = self.script.get(name, [])[1:]
            found.append(DagsterRun("backfill", run_id=run_id, status=status))
        return found

    def take_back(self, run_ids: list[str]) -> int:
        self.taken_back += run_ids
        return 0

    def failure_of(self, run_id: str) -> str | None:
        return self.reasons[run_id]

    def workers(self) -> list[WorkerEntry]:
        return [WorkerEntry("w", (BACKFILL,), self.processes)] if self.processes else []

    def queue_moves(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfills, "POLL_SECONDS", 0.0)


@pytest.fixture
def follow() -> Callable[..., list[Step]]:
    def run(runs: Any, *pieces: Piece, identifier: str | None = None) -> list[Step]:
        return list(RunningBackfill(pieces, [KEY], runs, identifier).follow())

    return run


PIECES = (piece("a"), piece("b"), piece("c", "a", "b"))


def test_what_needs_others_comes_after_them(follow: Callable[..., list[Step]]) -> None:
    runs = ScriptedRuns(processes=5)
    steps = follow(runs, PIECES[2], *PIECES[:2])
    assert (sorted(runs.submitted[:2]), runs.submitted[2]) == (["a", "b"], "c")
    assert [step.line for step in steps if step.line] == ["a: done", "b: done", "c: done"]
    assert steps[-1].share == 1.0


def test_what_the_longest_chain_waits_for_goes_first(follow: Callable[..., list[Step]]) -> None:
    runs = ScriptedRuns(processes=1)
    follow(runs, piece("alone"), piece("a"), piece("b", "a"), piece("c", "a", "b"))
    assert runs.submitted == ["a", "alone", "b", "c"]


def test_one_more_than_there_are_processes(follow: Callable[..., list[Step]]) -> None:
    runs = ScriptedRuns(processes=2)
    follow(runs, *(piece(str(number)) for number in range(10)))
    assert runs.most == 3


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (None, "was lost with its worker"),
        ("progress of x for crypto is A, this run expected B", "was overtaken by another run"),
    ],
)
def test_what_was_lost_or_overtaken_is_started_again(
    follow: Callable[..., list[Step]], reason: str | None, said: str
) -> None:
    runs = ScriptedRuns({"a": [(FAILURE, reason)]})
    steps = follow(runs, *PIECES)
    assert runs.submitted.count("a") == 2
    assert f"a: run 00000000 {said}, starting again" in [step.line for step in steps]


def test_but_not_for_ever(follow: Callable[..., list[Step]]) -> None:
    runs = ScriptedRuns({"a": [(FAILURE, None)] * MOST_ATTEMPTS})
    with pytest.raises(BackfillError, match=f"a was lost with its worker {MOST_ATTEMPTS} times"):
        follow(runs, piece("a"))
    assert runs.submitted == ["a"] * MOST_ATTEMPTS


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ((FAILURE, "the day before has not been computed"), "a failed: the day before has not been computed"),
        ((CANCELED, None), "a: run 00000000 was cancelled"),
    ],
)
def test_a_failure_ends_it_and_takes_back_what_waits(
    follow: Callable[..., list[Step]], end: tuple[DagsterRunStatus, str | None], message: str
) -> None:
    runs = ScriptedRuns({"a": [end]})
    with pytest.raises(BackfillError, match=message):
        follow(runs, *PIECES)
    assert runs.taken_back == ["00000001"]


@pytest.mark.parametrize(
    ("processes", "message"), [(0, "no worker takes back-fill runs"), (1, "is Dagster's daemon running")]
)
def test_when_nobody_is_there_it_says_so(
    follow: Callable[..., list[Step]], monkeypatch: pytest.MonkeyPatch, processes: int, message: str
) -> None:
    monkeypatch.setattr(backfills, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(BackfillError, match=message):
        follow(ScriptedRuns(processes=processes, ends=False), piece("a"))


def test_a_reader_who_goes_away_leaves_nothing_waiting() -> None:
    runs: Any = ScriptedRuns(ends=False)
    following = RunningBackfill(PIECES, [KEY], runs, None).follow()
    next(following)
    following.close()  # type: ignore[attr-defined]
    assert runs.taken_back == ["00000000", "00000001"]


def earlier(name: str, status: DagsterRunStatus) -> DagsterRun:
    return DagsterRun("backfill", run_id=f"earlier-{name}", status=status, tags={PIECE_TAG: name})


def test_going_on_does_what_is_left(follow: Callable[..., list[Step]]) -> None:
    runs = ScriptedRuns(earlier=[earlier("a", SUCCESS), earlier("b", DagsterRunStatus.STARTED)])
    runs.under_way["earlier-b"] = "b"
    assert follow(runs, *PIECES, identifier="cli1")[-1].share == 1.0
    assert runs.submitted == ["c"]


def test_going_on_with_what_is_not_there_or_another(follow: Callable[..., list[Step]]) -> None:
    with pytest.raises(BackfillError, match="there is no back-fill cli1"):
        follow(ScriptedRuns(), *PIECES, identifier="cli1")
    with pytest.raises(BackfillError, match="was of other days or assets: it has 'z'"):
        follow(ScriptedRuns(earlier=[earlier("z", SUCCESS)]), *PIECES, identifier="cli1")
