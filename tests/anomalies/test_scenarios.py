"""The built-in scenarios: what is planted is there, nothing else is, and the alerts on them are counted by hand."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.anomaly_scenarios import COOL_DOWN, SUDDEN, alerts_on, all_scenarios, by_alerts, by_votes, findings
from signal_assets.anomalies.detector import Scores
from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.scenarios import (
    APART,
    NOISES,
    ROWS_A_DAY,
    SCENARIOS,
    START,
    TEST_SEEDS,
    TRAIN_SEEDS,
    Event,
    Scenario,
    make_scenario,
    season,
)
from signal_assets.event_time import DAY, MINUTE, date_of

PAIRS = [(scenario, noise) for scenario in SCENARIOS for noise in NOISES]


@pytest.mark.parametrize(("scenario", "noise"), PAIRS)
def test_what_is_planted_is_there_and_nothing_else(scenario: str, noise: str) -> None:
    made = make_scenario(scenario, noise, seed=7, days=10)
    assert len(made.times) == len(made.values) == 10 * 1_440
    assert set(np.diff(made.times)) == {MINUTE}
    assert {kind: sum(event.kind == kind for event in made.events) for kind in SCENARIOS[scenario]} == (
        SCENARIOS[scenario]
    )
    expected = np.zeros(len(made.values))
    changed = np.zeros(len(made.values), np.bool_)  # where the noise is not as it was
    for kind, first, last, size in made.events:
        if kind == "spike":
            expected[first : last + 1] += size
            assert 1 <= last - first + 1 <= 3
            assert noise != "skewed" or size > 0
        elif kind == "level_shift":
            expected[first:] += size
        elif kind == "drift":  # in equal steps, the last of which makes it whole
            steps = last - first + 1
            expected[first : last + 1] += [size * (step + 1) / steps for step in range(steps)]
            expected[last + 1 :] += size
        else:
            changed[first : last + 1] = True
    moved = (made.values - made.undisturbed) / made.reach
    # Both are rounded where the series is quantized: they may differ by one tick more or less.
    slack = NOISES[noise].tick / NOISES[noise].reach + 1e-9
    assert np.abs(moved - expected)[~changed].max() <= slack
    assert not changed.any() or np.abs(moved - expected)[changed].max() > slack


@pytest.mark.parametrize(("scenario", "noise"), PAIRS)
def test_the_first_day_is_quiet_and_events_lie_apart(scenario: str, noise: str) -> None:
    for seed in range(20):
        events = make_scenario(scenario, noise, seed, days=7).events
        assert events[0].first >= 1_440 + APART
        assert events[-1].last < 7 * 1_440
        assert all(later.first - earlier.last > APART for earlier, later in pairwise(events))


def test_the_noise_changes_its_width_and_nothing_else() -> None:
    made = make_scenario("complex_patterns", "normal", seed=3)
    wide = next(event for event in made.events if event.kind == "variance_change")
    inside = slice(wide.first, wide.last + 1)
    level = sum(event.size for event in made.events if event.kind == "level_shift" and event.first < wide.first)
    # values - undisturbed = shifts + (size - 1) · noise, so the noise follows, and with it the season.
    moved = (made.values - made.undisturbed)[inside] / made.reach - level
    noise = moved / (wide.size - 1)
    assert noise.std() * NOISES["normal"].reach == pytest.approx(1, rel=0.25)
    rest = np.diff(made.undisturbed[inside] / made.reach - noise)
    assert np.abs(rest).max() < 0.05  # a wave of a day moves by less in a minute


def test_reaches_are_what_one_value_in_100_000_exceeds() -> None:
    for noise, beyond in {
        "normal": lambda reach: 2 * stats.norm.sf(reach),
        "heavy_tailed": lambda reach: 2 * stats.t(5).sf(reach),
        "skewed": lambda reach: stats.lognorm(0.5).sf(1 + reach),
        "quantized": lambda reach: 2 * stats.norm.sf(reach - 1),
        "correlated": lambda reach: 2 * stats.norm.sf(reach),
    }.items():
        assert beyond(NOISES[noise].reach) == pytest.approx(1e-5, rel=1e-9)
        drawn = NOISES[noise].draw(np.random.default_rng(1), 200_000)
        assert np.median(drawn) == pytest.approx(0, abs=0.02)
        # Two are expected beyond it; twelve or more would be so in one of 100,000 cases.
        assert (np.abs(drawn) > NOISES[noise].reach).sum() < 12


def test_correlation_and_ticks() -> None:
    drawn = NOISES["correlated"].draw(np.random.default_rng(2), 200_000)[100:]
    assert np.corrcoef(drawn[:-1], drawn[1:])[0, 1] == pytest.approx(0.7, abs=0.01)
    assert drawn.std() == pytest.approx(1, abs=0.02)
    made = make_scenario("sudden_spikes", "quantized", seed=1)
    tick = made.reach / NOISES["quantized"].reach * 2
    assert np.allclose(made.values / tick, np.rint(made.values / tick), atol=1e-6)
    assert len(np.unique(made.values)) < 200


def test_a_day_is_like_the_next_and_weekends_are_calmer() -> None:
    assert (START % DAY, date_of(START + 1).weekday()) == (0, 0)
    wave = season(14 * 1_440, False, np.random.default_rng(5))
    days = wave.reshape(14, 1_440)
    assert np.allclose(days[0], days[3])
    assert np.allclose(days[5], days[12])
    assert np.ptp(days[5]) < 0.95 * np.ptp(days[0])
    # At midnight between Saturday and Sunday it is half as high.
    assert days[6][0] == pytest.approx(days[0][0] / 2)


def test_the_seed_is_all_there_is_to_chance() -> None:
    first, again, other = (make_scenario("complex_patterns", "skewed", seed) for seed in (1, 1, 2))
    assert first.values.tobytes() == again.values.tobytes()
    assert first.events == again.events
    assert first.events != other.events
    assert not set(TRAIN_SEEDS) & set(TEST_SEEDS)


def test_unknown_names_and_too_few_days_are_refused() -> None:
    with pytest.raises(ValueError, match="no scenario 'sudden_spike' with noise 'normal'"):
        make_scenario("sudden_spike", "normal", 1)
    with pytest.raises(ValueError, match="7 are needed"):
        make_scenario("sudden_spikes", "normal", 1, days=6)


class VotesAt:
    """Votes at given rows."""

    def __init__(self, *rows: int) -> None:
        self.rows = list(rows)

    def score(self, times: np.ndarray, values: np.ndarray) -> Scores:
        vote = np.zeros(len(values), np.int64)
        vote[self.rows] = 1
        return Scores(*np.zeros((3, len(values))), vote)


def test_alerts_are_counted_by_hand() -> None:
    rows = 3 * ROWS_A_DAY
    events = (
        Event("spike", 2_000, 2_001, 3.0),
        Event("level_shift", 3_000, 3_059, -2.0),
        Event("drift", 4_000, 4_100, 2.0),
    )
    made = Scenario("a.b.1", START + MINUTE * np.arange(rows), np.zeros(rows), np.zeros(rows), 1.0, events)
    # 50 lies on the first day. 2,006 is five rows behind the spike's end, which is just in time, six after its start;
    # 2,008 follows within the cool-down. 3,002 hits the shift after two rows, 3,065 is too late for it. 1,999 and 3,065
    # have nothing behind them; nothing hits the drift.
    assert COOL_DOWN == 5
    voting = by_votes(lambda: VotesAt(50, 1_999, 2_006, 2_008, 3_002, 3_065))  # type: ignore[arg-type, return-value]
    found = findings(alerts_on(voting, [made]), [made])
    assert found.series_days == 2
    assert (found.recall("spike"), found.recall("level_shift"), found.recall("drift")) == (1, 1, 0)
    assert (found.delay("spike"), found.delay("level_shift")) == (6, 2)
    assert math.isnan(found.delay("drift"))
    assert found.score().precision == 2 / 4
    assert found.false_per_day() == 1
    assert isinstance(found.alerts, pd.DataFrame)


@pytest.mark.slow
def test_the_novelty_detector_finds_what_was_planted() -> None:
    """Issue: recall ≥ 0.95, ≤ 0.1 false alerts a series-day, delay ≤ 2 over many seeds; one may do worse."""
    scenarios = all_scenarios([TEST_SEEDS[0]])
    found = findings(alerts_on(by_alerts(NoveltyDetector), scenarios), scenarios)
    assert found.series_days == 15 * 13
    assert found.recall(*SUDDEN) >= 0.9
    assert found.false_per_day() <= 0.15
    assert found.delay("spike") <= 2
    assert found.delay("level_shift") <= 2
