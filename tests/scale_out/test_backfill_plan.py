"""How a back-fill is cut into runs: on the real graph, and any order that keeps the needs gives the rows of one run."""

import random
from datetime import date, timedelta

import pytest

from resources.settings import load_settings
from services.backfill_plan import Piece, plan
from signal_assets.definitions import build_defs
from tests.scale_out.generated_days import write_settings

DAYS = [date(2025, 1, 7) + timedelta(days=number) for number in range(4)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> object:
    from tests.fakes import FixedSettings

    settings = load_settings(write_settings(tmp_path_factory.mktemp("plan")))
    return build_defs({"settings": FixedSettings(settings)}).resolve_asset_graph()


def of_stages(graph: object, *stages: str) -> list[object]:
    found = [graph.get(key) for key in graph.toposorted_asset_keys]  # type: ignore[attr-defined]
    return [node.key for node in found if node.is_materializable and node.group_name in stages]


def names(piece: Piece) -> set[str]:
    return {"/".join(key.path) for key in piece.assets}


def test_window_tables_by_day_in_three_tiers(graph: object) -> None:
    pieces = plan(graph, of_stages(graph, "aggregates", "levels"), DAYS)
    assert [piece.name for piece in pieces] == [
        *(f"windows 1 of {day}" for day in DAYS),
        *(f"windows 2 of {day}" for day in DAYS),
        *(f"windows 3 of {day}" for day in DAYS),
    ]
    assert all(names(piece) == {"aggregates/dollar_depth", "aggregates/dollar_trades"} for piece in pieces[:4])
    assert all(not piece.needs for piece in pieces[:4])
    assert names(pieces[4]) == {"levels/wave_peaks", "levels/price_zones", "levels/value_area"}
    assert pieces[6].needs == {f"windows 1 of {day}" for day in DAYS[:3]}
    # Outcomes of levels look back at the zones of the evening before.
    assert names(pieces[8]) == {"levels/level_outcomes"}
    assert pieces[9].needs == {f"windows {tier} of {day}" for tier in (1, 2) for day in DAYS[:2]}


def test_folds_follow_day_by_day_behind_the_windows_of_their_day(graph: object) -> None:
    stages = ("aggregates", "levels", "anomalies", "strategies", "signals", "execution", "performance", "learning")
    pieces = {piece.name: piece for piece in plan(graph, of_stages(graph, *stages), DAYS)}
    assert len(pieces) == 16
    for before, day in zip([None, *DAYS], DAYS, strict=False):
        piece = pieces[f"folds of {day}"]
        assert f"windows 2 of {day}" in piece.needs
        assert (f"folds of {before}" in piece.needs) == (before is not None)
        assert not any(name.endswith(str(later)) for later in DAYS if later > day for name in piece.needs)
    everything = set().union(*(names(piece) for piece in pieces.values()))
    assert {"signals/signals", "performance/metrics", "learning/thresholds", "learning/regimes"} <= everything
    assert "learning/regimes" in names(pieces[f"windows 1 of {DAYS[0]}"])  # made of raw rows alone


def test_levels_alone_wait_for_nothing_but_levels(graph: object) -> None:
    pieces = plan(graph, of_stages(graph, "levels"), DAYS)
    assert [piece.needs for piece in pieces[:4]] == [frozenset()] * 4
    assert [len(piece.needs) for piece in pieces[4:]] == [1, 2, 3, 4]


def test_a_long_back_fill_has_longer_stretches_and_every_day_once(graph: object) -> None:
    days = [date(2024, 1, 1) + timedelta(days=number) for number in range(365)]
    pieces = plan(graph, of_stages(graph, "aggregates", "levels", "anomalies"), days)
    for kind in ("windows 1", "windows 2", "folds"):
        assert [day for piece in pieces if piece.name.startswith(kind) for day in piece.days] == days
    assert max(len(piece.days) for piece in pieces) == 7
    assert all(len(piece.days) == 1 for piece in pieces if piece.name.startswith("folds"))


@pytest.mark.parametrize("seed", range(3))
def test_it_can_always_be_done(graph: object, seed: int) -> None:
    """Whatever is done first of what may be done: everything gets done."""
    chance, done = random.Random(seed), set[str]()
    left = plan(graph, of_stages(graph, "aggregates", "levels", "anomalies", "signals"), DAYS)
    while left:
        ready = [piece for piece in left if piece.needs <= done]
        piece = chance.choice(ready)
        left.remove(piece)
        done.add(piece.name)
