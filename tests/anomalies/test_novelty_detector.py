"""The novelty detector: its kernel against independent calculations, and what every detector owes."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from signal_assets.anomalies.novelty_detector import SOURCE_NAMES, NoveltyDetector
from signal_assets.anomalies.novelty_steps import (
    BURDEN,
    JUMP_PRIOR,
    JUMPS,
    POOLS,
    POOLS_AT,
    PRIOR,
    STRANGE,
    TAIL,
    empty_memory,
    join,
    jump_rarity,
    more_asked,
    novelty,
    pool_values,
    rarity,
    spacing_up_to,
)
from signal_assets.event_time import DAY, MINUTE
from signal_assets.machine import decode_state, encode_state

EVERY_FIVE_MINUTES = 5 * MINUTE


def small(**changes: float) -> NoveltyDetector:
    return NoveltyDetector(**{"window": 120, "minimum_points": 20, "cool_down": 5, **changes})  # type: ignore[arg-type]


def judged(detector: NoveltyDetector, times: np.ndarray, values: np.ndarray) -> bytes:
    scores, alerts, evidence = detector.judge(times, values)
    return np.column_stack([*scores, alerts, evidence]).tobytes()


def pool_of(values: list[float], size: int) -> np.ndarray:
    pool = np.zeros(2 + 2 * size)
    for value in values:
        join(pool, value)
    return pool


@given(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40), st.integers(1, 9))
def test_a_pool_is_the_newest_values_in_order(values: list[float], size: int) -> None:
    pool = pool_of(values, size)
    kept = values[-size:]
    assert pool[0] == len(kept)
    assert pool[2 + size : 2 + size + len(kept)].tolist() == sorted(kept)
    for looked_up in (-6.0, 0.0, 2.5):
        assert novelty(pool, looked_up) == min(abs(looked_up - value) for value in kept)


def test_rarity_in_the_bulk_is_the_share_above() -> None:
    pool = pool_of([float(i) for i in range(99)], 99)
    # 50 lies above 50 values and is one itself: 1 - (50 + 51) / 2 / 100 = 0.495 lies above.
    assert rarity(pool, 50.0) == pytest.approx(-math.log10(0.495))
    assert rarity(pool, -1.0) == 0.0


def test_rarity_in_the_tail_is_a_generalized_pareto_tail() -> None:
    values = np.random.default_rng(5).pareto(4.0, 1_000)
    pool = pool_of(values.tolist(), 1_000)
    ordered = np.sort(values)
    edge = ordered[950]
    exceedances = ordered[950:] - edge
    # Five exceedances are added whose mean and standard deviation are those of an exponential that falls from a half to
    # TAIL between the median and the edge.
    assumed = (edge - ordered[500]) / math.log(0.5 / TAIL)
    count = len(exceedances) + PRIOR
    mean = (exceedances.sum() + PRIOR * assumed) / count
    variance = (((exceedances - exceedances.mean()) ** 2).sum() + PRIOR * assumed**2) / count
    # Method of moments (Hosking and Wallis 1987, with ξ = -k): ξ = (1 - mean² / variance) / 2, scale = mean (1 - ξ).
    shape = min(max((1 - mean**2 / variance) / 2, 0.0), 0.9)
    for value in (edge + 0.1, 2 * ordered[-1]):
        tail = TAIL * stats.genpareto.sf(value - edge, shape, scale=mean * (1 - shape))
        assert rarity(pool, float(value)) == pytest.approx(-math.log10(tail), rel=1e-12)


def test_rarity_of_a_jump_is_a_tail_through_three_quantiles() -> None:
    values = np.random.default_rng(6).pareto(4.0, 2_001)
    pool = pool_of(values.tolist(), 2_001)
    edge, midway, far = np.quantile(values, [0.9, 0.98, 0.996])  # of 2,001 values each is one of them
    # Of a generalized Pareto tail that begins at the edge, 1/5 lies above midway and 1/25 above far, so that
    # far - midway = 5^ξ (midway - edge). The shape counts as much as the eight values beyond far do beside JUMP_PRIOR.
    beyond = 0.004 * 2_001
    shape = math.log((far - midway) / (midway - edge)) / math.log(5) * beyond / (beyond + JUMP_PRIOR)
    assert shape > 0
    scale = (midway - edge) * shape / (5**shape - 1)
    for value in (edge + 0.1, midway, 2 * values.max()):
        tail = 0.1 * stats.genpareto.sf(value - edge, shape, scale=scale)
        assert jump_rarity(pool, float(value))[0] == pytest.approx(-math.log10(tail), rel=1e-9)
    strange = edge + stats.genpareto.isf(10**-STRANGE / 0.1, shape, scale=scale)
    assert jump_rarity(pool, 0.0) == pytest.approx((0.0, strange), rel=1e-9)


def test_an_exponential_tail_of_jumps_by_hand() -> None:
    # Of 0, 1, … 1,000 the quantiles are 900, 980 and 996: the tail gets thinner, so it is taken as exponential, with
    # 1/5 beyond 980: scale 80 / ln 5 = 49.7, less than a tenth of 900, which takes its place.
    pool = pool_of([float(i) for i in range(1_001)], 1_001)
    assert jump_rarity(pool, 900 + 90 * math.log(100))[0] == pytest.approx(3)
    assert jump_rarity(pool, 900.0)[0] == 0


def test_more_is_asked_of_values_that_come_faster() -> None:
    minute, second = 60e6, 1e6
    assert more_asked(minute, minute) == more_asked(2 * minute, minute) == more_asked(0.0, minute) == 0
    assert more_asked(6 * second, minute) == pytest.approx(1)
    assert more_asked(second / 100, minute) == 2
    memory = empty_memory(20)
    assert spacing_up_to(memory, 10_000) == 0
    memory[0] = 1  # a value was seen
    assert spacing_up_to(memory, 10_100) == 100
    assert spacing_up_to(memory, 10_100) == 100  # the clock stands
    assert spacing_up_to(memory, 9_000) == 100  # it jumps back
    assert spacing_up_to(memory, 9_050) == pytest.approx(100 + 0.02 * (50 - 100))
    assert spacing_up_to(memory, 9_050 + 10**9) == pytest.approx(99 + 0.02 * 3 * 99)  # a gap counts as four


def remembered_jumps(values: np.ndarray) -> np.ndarray:
    detector = NoveltyDetector(window=2_000)
    detector.judge(np.arange(len(values)) * MINUTE, values)
    return np.asarray(detector.state()["pools"][JUMPS])


def test_a_spike_is_not_remembered_but_a_new_usual_is() -> None:
    calm = np.random.default_rng(8).normal(0, 1, 1_500)
    spiked = calm.copy()
    spiked[1_000] += 50
    assert remembered_jumps(spiked).max() < 6
    assert len(remembered_jumps(spiked)) >= len(remembered_jumps(calm)) - 20
    wilder = calm.copy()
    wilder[700:] *= 100  # for good
    jumps = remembered_jumps(wilder)
    assert np.median(jumps[-300:]) > 20
    settled = NoveltyDetector(window=2_000).judge(np.arange(1_500) * MINUTE, wilder)
    assert (settled.evidence[700:750, -1] > 6).mean() > 0.5
    assert (settled.evidence[1_300:, -1] > 6).mean() < 0.05


def test_jumps_that_come_often_are_remembered_as_they_are() -> None:
    times = np.arange(4_000) * MINUTE
    values = np.zeros(4_000)
    values[200::150] = 1.0  # one in 150: all quantiles of the jumps are below 1
    detector = NoveltyDetector(window=2_000)
    alerts = detector.judge(times, values).alerts
    assert (alerts[:800] > 0).sum() == 4  # 200, 350, 500, 650
    assert not alerts[2_000:].any()
    assert detector.state()["rest"][BURDEN] < 4


def test_earlier_days_by_hand() -> None:
    detector = NoveltyDetector(window=20, minimum_points=20)
    noon = 40 * DAY + 12 * 60 * MINUTE
    detector.update(noon, 10.0)
    detector.update(noon + MINUTE, 14.0)  # the half hour's mean is 12
    detector.update(noon + 31 * MINUTE, 30.0)  # the next half hour's is 30
    for back, value, expected in ((1, 12.5, 0.5), (14, 29.0, None), (3, 100.0, 70.0)):
        probe = NoveltyDetector(window=20, minimum_points=20)
        probe.restore(detector.state())
        probe.update(noon + back * DAY + 15 * MINUTE, value)
        distances = probe.state()["pools"][11].tolist()
        # 14 days later, 29 is one from the neighbour's mean of 30.
        assert distances == [1.0 if expected is None else expected]
    probe = NoveltyDetector(window=20, minimum_points=20)
    probe.restore(detector.state())
    probe.update(noon + 15 * DAY, 12.0)  # too far back to be remembered
    probe.update(noon + DAY + 90 * MINUTE, 12.0)  # the clock jumped back, to a half hour with no neighbour known
    assert probe.state()["pools"][11].tolist() == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 400), max_size=3))
def test_cuts_and_restarts_change_no_bit(seed: int, cuts: list[int]) -> None:
    random = np.random.default_rng(seed)
    values = random.choice([random.normal(0, 1, 400).round(1), random.standard_t(2, 400)], axis=0)
    values[random.integers(0, 400, 3)] = [math.nan, math.inf, 0.0]
    times = np.cumsum(random.integers(1, 3, 400)) * EVERY_FIVE_MINUTES
    times[300:] -= DAY  # a clock that jumps back
    whole = judged(small(), times, values)
    pieces, detector = [], small()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 400], strict=True):
        pieces.append(judged(detector, times[start:end], values[start:end]))
        restarted = small()
        restarted.restore(decode_state(encode_state(detector.state())))
        detector = restarted
    width = len(whole) // 400
    assert b"".join(pieces) == whole
    online = small()
    one_by_one = [
        [*online.update(time, value), *online.evidence]
        for time, value in zip(times.tolist(), values.tolist(), strict=True)
    ]
    batch = np.frombuffer(whole).reshape(400, width // 8)
    assert np.array(one_by_one).tobytes() == batch[:, [0, 1, 2, 3, *range(5, 13)]].tobytes()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2.0**-20, 0.25, 8.0, 2.0**30]))
def test_the_unit_of_the_values_does_not_matter(seed: int, unit: float) -> None:
    values = np.random.default_rng(seed).standard_t(3, 300)
    times = np.arange(300) * EVERY_FIVE_MINUTES
    mine, scaled = small().judge(times, values), small().judge(times, values * unit)
    assert mine.evidence.tobytes() == scaled.evidence.tobytes()  # powers of two lose no bit
    assert mine.alerts.tobytes() == scaled.alerts.tobytes()


def test_a_spike_that_comes_every_day_becomes_less_new() -> None:
    times = np.arange(12 * 288) * EVERY_FIVE_MINUTES
    values = 50 + np.random.default_rng(2).normal(0, 1, len(times))
    spikes = np.arange(4 * 288 + 100, len(times), 288)
    values[spikes] += 40
    _, alerts, evidence = NoveltyDetector().judge(times, values)
    assert alerts[spikes[0]] > 0
    assert alerts[spikes[-2:]].sum() == 0
    assert evidence[spikes[-4:], 0].max() < evidence[spikes[0], 0]


def test_a_step_and_what_lies_between_two_levels_are_found() -> None:
    times = np.arange(3_000) * EVERY_FIVE_MINUTES
    noise = np.random.default_rng(3).normal(0, 0.5, 3_000)
    step = noise + np.where(np.arange(3_000) < 2_500, 10.0, 20.0)
    found = np.flatnonzero(NoveltyDetector().judge(times, step).alerts)
    assert 2_500 in found
    levels = noise / 5 + np.where(np.arange(3_000) % 100 < 50, 0.0, 10.0)
    levels[2_725] = 5.0
    scores = NoveltyDetector().judge(times, levels).scores
    assert scores.vote[2_725] != 0
    assert scores.sigma[2_725] == scores.sigma[200:].max() or scores.sigma[2_725] > 3


def test_warming_up_constant_and_not_a_number() -> None:
    detector = small()
    scores, alerts, evidence = detector.judge(np.arange(60), np.full(60, 7.0))
    assert np.isnan(scores.sigma[:20]).all()
    assert not scores.vote.any()
    assert not alerts.any()
    # Nothing lies above what is all there is, and half of it is counted as above: log10(2) at most.
    assert evidence.max() < math.log10(2)
    assert detector.update(60, math.nan)[3] == 0
    assert math.isnan(detector.update(61, math.inf).sigma)
    said = detector.update(62, 7.5)
    assert said.vote == 1
    assert (said.expected_low, said.expected_high) == (7.0, 7.0)
    # Every source but earlier days, of which there are none, finds it as rare as can be, and so is the jump.
    assert np.delete(detector.evidence, SOURCE_NAMES.index("earlier_days")).min() == 12.0


@pytest.mark.parametrize("beyond", [1.1e100, 1e155, -1e200, 1e308, -1.79e308])
def test_numbers_too_great_to_reckon_with_are_none(beyond: float) -> None:
    random = np.random.default_rng(3)
    values = random.standard_normal(400).cumsum()
    values[random.random(400) < 0.1] = beyond
    times = np.arange(400) * EVERY_FIVE_MINUTES
    detector, without = small(), small()
    assert judged(detector, times, values) == judged(without, times, np.where(values == beyond, np.nan, values))
    assert encode_state(detector.state()) == encode_state(without.state())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_the_greatest_numbers_every_pool_stays_in_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    detector = small()
    for number in range(600):
        value = random.choice([1e100, -1e100, 1e99, 5e-324, 0.0, 1.0, 1e308, -1e308])
        detector.update(number * EVERY_FIVE_MINUTES, float(value))
    memory = detector._memory
    pools = memory[POOLS_AT:].reshape(POOLS, -1)
    size = (pools.shape[1] - 2) // 2
    assert np.isfinite(memory).all()
    for number, pool in enumerate(pools):
        held = pool_values(memory, number)
        assert pool[2 + size : 2 + size + len(held)].tolist() == sorted(held)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="minimum_points must lie in 20…window"):
        NoveltyDetector(window=100)
    with pytest.raises(ValueError, match="half_life 0"):
        NoveltyDetector(half_life=0)
    with pytest.raises(ValueError, match="of one length"):
        small().score([1, 2], [1.0])


def test_a_memory_of_nothing_holds_nothing() -> None:
    assert pool_values(empty_memory(5), 3).tolist() == []


@pytest.mark.slow
def test_prefixes_of_the_recorded_series(shared_data: Path) -> None:
    """What is said of a value is the same whether or not more follows, and after a restart in the middle."""
    files = sorted((shared_data / "nab" / "data").glob("*/*.csv.gz"))
    assert len(files) == 24
    for file in files:
        frame = pd.read_csv(file, parse_dates=["timestamp"])
        times = frame["timestamp"].to_numpy("datetime64[us]").astype(np.int64)
        values = frame["value"].to_numpy(np.float64)
        whole = judged(NoveltyDetector(), times, values)
        middle = len(values) // 2
        detector = NoveltyDetector()
        first = judged(detector, times[:middle], values[:middle])
        resumed = NoveltyDetector()
        resumed.restore(decode_state(encode_state(detector.state())))
        assert first + judged(resumed, times[middle:], values[middle:]) == whole
