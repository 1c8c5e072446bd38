"""Many novelty detectors asked at once say what each says alone, whatever one of them is given, and after a restart."""

import numpy as np
import pytest

from signal_assets.anomalies.novelty_detector import NoveltyDetector
from signal_assets.anomalies.novelty_panel import NoveltyPanel

SERIES, POINTS = 5, 400
MINUTE = 60_000_000


def small(**changes: float) -> NoveltyDetector:
    return NoveltyDetector(**({"window": 60, "minimum_points": 20, "cool_down": 10, "threshold": 1.0} | changes))  # type: ignore[arg-type]


def series() -> np.ndarray:
    """Walks with spikes, one constant, one with holes: a column each."""
    random = np.random.default_rng(4)
    values = random.standard_normal((POINTS, SERIES)).cumsum(axis=0)
    values[random.random((POINTS, SERIES)) < 0.02] += 50.0
    values[:, 1] = 3.0
    values[random.random(POINTS) < 0.2, 2] = np.nan
    values[250, 3] = np.inf
    return values


def test_a_panel_says_what_each_says_alone_also_after_a_restart() -> None:
    alone, together = [small() for _ in range(SERIES)], [small() for _ in range(SERIES)]
    panel, votes = NoveltyPanel(together), 0
    for point, row in enumerate(series()):
        if point == POINTS // 2:
            states = [detector.state() for detector in together]
            together = [small() for _ in range(SERIES)]
            panel = NoveltyPanel(together)
            for detector, state in zip(together, states, strict=True):
                detector.restore(state)
        said = panel.update(point * MINUTE, row)
        expected = [detector.update(point * MINUTE, value) for detector, value in zip(alone, row.tolist(), strict=True)]
        np.testing.assert_array_equal(np.array(said).T, np.array(expected))
        assert [said.at(number) for number in np.flatnonzero(said.vote)] == [one for one in expected if one.vote]
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one.evidence, other.evidence)
            assert one.reasons() == other.reasons()
        votes += int(np.abs(said.vote).sum())
    assert votes > 10


def test_a_detector_of_a_panel_may_still_be_asked_alone() -> None:
    values = series()
    together, alone = [small() for _ in range(SERIES)], small()
    panel = NoveltyPanel(together)
    for point, row in enumerate(values[:200]):
        panel.update(point * MINUTE, row)
        alone.update(point * MINUTE, row[0])
    times = np.arange(200, POINTS) * MINUTE
    for one, other in zip(together[0].score(times, values[200:, 0]), alone.score(times, values[200:, 0]), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(together[0].evidence, alone.evidence)


def test_detectors_that_come_with_a_past_go_on_from_it() -> None:
    values = series()
    together, alone = [small() for _ in range(SERIES)], [small() for _ in range(SERIES)]
    times = np.arange(200) * MINUTE
    for number in range(SERIES):
        together[number].score(times, values[:200, number])
        alone[number].score(times, values[:200, number])
    panel = NoveltyPanel(together)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.evidence, other.evidence)
    assert any(detector.evidence.any() for detector in alone)
    for point, row in enumerate(values[200:260], start=200):
        expected = [detector.update(point * MINUTE, value) for detector, value in zip(alone, row.tolist(), strict=True)]
        np.testing.assert_array_equal(np.array(panel.update(point * MINUTE, row)).T, np.array(expected))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="different settings"):
        NoveltyPanel([small(), small(threshold=2.0)])
    with pytest.raises(ValueError, match=r"values \(2,\) must be one of each of 1 series"):
        NoveltyPanel([small()]).update(0, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"values \(1,\) must be one of each of 2 series"):
        NoveltyPanel([small(), small()]).update(0, [1.0])
    with pytest.raises(ValueError, match=r"values \(1, 2\) must be"):
        NoveltyPanel([small(), small()]).update(0, [[1.0, 2.0]])
