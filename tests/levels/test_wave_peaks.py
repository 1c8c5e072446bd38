import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from signal_assets.levels import (
    WavePeak,
    detect_combined_peaks,
    detect_normal_distribution_peaks,
    detect_volume_peaks,
)
from signal_assets.levels.wave_peaks import (
    MERGE_TOLERANCE,
    detect,
    half_width,
    local_maxima,
    lowest_between,
    merge,
    moments,
    valleys,
)

# Steps of 1…4 between buckets make gaps; few distinct volumes make plateaus and ties.
PROFILES = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6)), min_size=1, max_size=40).map(
    lambda steps: (
        np.cumsum([step for step, _ in steps]).astype(np.int64) + 60_000,
        np.array([float(volume) for _, volume in steps]),
    )
)


def written_out(bucket, volume):
    dense = np.zeros(int(bucket[-1] - bucket[0]) + 1)
    dense[bucket - bucket[0]] = volume
    return dense


@given(PROFILES)
def test_every_local_maximum_has_scipys_place_prominence_and_width(profile):
    bucket, volume = profile
    dense = written_out(bucket, volume)
    peaks = detect_volume_peaks(bucket, volume, min_relative_volume=0, min_absolute_volume=0)
    # Nothing lies beside both ends: with a zero there, scipy sees maxima at the ends too, and its places move by one.
    places = signal.find_peaks(np.pad(dense, 1))[0] - 1
    assert sorted(peak.price - int(bucket[0]) for peak in peaks) == places.tolist()
    for peak in peaks:
        place = peak.price - int(bucket[0])
        plateau = dense == dense[place]
        left_end = bool(plateau[: place + 1].all())
        right_end = bool(plateau[place:].all())
        row = np.pad(dense, (int(left_end), int(right_end)))
        prominence = signal.peak_prominences(row, [place + left_end])[0][0]
        width = signal.peak_widths(row, [place + left_end], rel_height=0.5)[0][0]
        assert peak.prominence == prominence
        assert peak.width == pytest.approx(width, abs=1e-9)


@given(PROFILES)
def test_scores_are_those_of_the_written_out_profile(profile):
    bucket, volume = profile
    dense = written_out(bucket, volume)
    prices = np.arange(dense.size)
    if dense.sum() == 0:
        assert detect_combined_peaks(bucket, volume) == []
        return
    centre = np.average(prices, weights=dense)
    spread = np.sqrt(np.average((prices - centre) ** 2, weights=dense))
    for peak in detect_volume_peaks(bucket, volume, min_relative_volume=0, min_absolute_volume=0):
        place = peak.price - int(bucket[0])
        expected_z = (dense[place] - dense.mean()) / dense.std() if dense.std() > 1e-12 else 0.0
        assert peak.z_score == pytest.approx(expected_z, abs=1e-9)
        expected_distance = (place - centre) / spread if spread > 0 else 0.0
        assert peak.distance_sigma == pytest.approx(expected_distance, abs=1e-9)
        assert peak.volume == dense[place]
        assert 0 <= peak.confidence <= 1


def test_a_statistical_peak_by_hand():
    # Buckets 98…102 hold 0, 0, 20, 0, 0: mean 4, variance (4 x 16 + 256) / 5 = 64, so z = 16 / 8 = 2.
    # Prominence 20 of 20, confidence 2/3 x 1; all volume at one price: no spread, so no distance. Half-height width 1.
    (peak,) = detect_normal_distribution_peaks([98, 100, 102], [0.0, 20.0, 0.0])
    assert peak == WavePeak(100, 20.0, 2.0, pytest.approx(2 / 3), 0.0, 20.0, 1.0, "statistical")


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"min_peak_volume": 20}, True),
        ({"min_peak_volume": 20.001}, False),
        ({"z_score_threshold": 2}, True),
        ({"z_score_threshold": 2.001}, False),
        ({"min_peak_confidence": 0.66}, True),
        ({"min_peak_confidence": 0.67}, False),
    ],
)
def test_statistical_thresholds_are_least_values(parameters, found):
    assert bool(detect_normal_distribution_peaks([98, 100, 102], [0.0, 20.0, 0.0], **parameters)) is found


@pytest.mark.parametrize(
    ("volumes", "found"),
    [
        ([4, 12, 8], True),  # exactly twice the neighbours' mean 6
        ([4, 11.99, 8], False),
        ([0, 10, 0], True),  # exactly the least volume
        ([0, 9.99, 0], False),
        ([8, 40, 41, 40, 8], False),  # the middle is no twice its neighbours
    ],
)
def test_volume_peaks_by_hand(volumes, found):
    assert bool(detect_volume_peaks(range(100, 100 + len(volumes)), volumes)) is found


def test_the_confidence_of_a_volume_peak_by_hand():
    # Neighbours' mean 6 of 12: 1/2. Volume 12 of 12 + 10. Ends count as empty, so 100 (10 BTC) is a peak too: 1 x 1/2.
    peaks = detect_volume_peaks([90, 100, 101, 102], [10.0, 4.0, 12.0, 8.0])
    assert [(peak.price, peak.confidence) for peak in peaks] == [(90, 0.5), (101, pytest.approx(0.5 * 12 / 22))]


def test_a_plateau_counts_once_at_its_middle():
    assert [p.price for p in detect_volume_peaks(range(100, 106), [1, 20, 20, 20, 20, 1])] == [102]
    assert [p.price for p in detect_volume_peaks([100, 101], [20, 20])] == [100]
    # A gap inside makes two peaks of it.
    assert [p.price for p in detect_volume_peaks([100, 101, 103, 104], [20, 20, 20, 20])] == [100, 103]


def test_a_constant_profile_has_no_statistical_peak_whatever_rounding_says():
    bucket = np.arange(100, 107)
    volume = np.full(7, 5.1)
    assert detect_normal_distribution_peaks(bucket, volume, z_score_threshold=0, min_peak_confidence=0) == []
    assert detect_normal_distribution_peaks([100], [50.0], z_score_threshold=-1, min_peak_confidence=0) == []


def test_combined_is_the_union_and_what_both_found_ranks_first():
    # 104: both. 100: 12 against empty neighbours, but z below 1.5 – by volume only.
    # 110: its left neighbour holds 30, so its 40 are no twice (30 + 30) / 2 – by statistics only.
    bucket = [100, *range(102, 107), 109, 110, 111, 112]
    volume = [12.0, 1, 1, 80, 1, 1, 30, 40, 30, 1]
    by_statistics = {peak.price for peak in detect_normal_distribution_peaks(bucket, volume, z_score_threshold=0.5)}
    by_volume = {peak.price for peak in detect_volume_peaks(bucket, volume)}
    assert by_statistics == {104, 110}
    assert by_volume == {100, 104}
    peaks = detect_combined_peaks(bucket, volume, statistical_params={"z_score_threshold": 0.5})
    assert peaks[0].price == 104
    assert peaks[0].confidence > 0.5 >= max(peak.confidence for peak in peaks[1:])
    assert {peak.price for peak in peaks} == {100, 104, 110}
    assert {peak.method for peak in peaks} == {"combined"}


def test_combined_peaks_within_the_tolerance_are_one_at_the_larger_volume():
    assert MERGE_TOLERANCE == 2
    # 100 and 102 are two volume peaks two buckets apart; 105 is three away from 102.
    assert {p.price for p in detect_volume_peaks([100, 102, 105], [20, 30, 25])} == {100, 102, 105}
    assert {p.price for p in detect_combined_peaks([100, 102, 105], [20, 30, 25])} == {102, 105}
    # Of equals the lower price stays; a chain is not swallowed whole: 104 is four away from 100.
    assert {p.price for p in detect_combined_peaks([100, 102, 104], [20, 20, 20])} == {100, 104}


def test_history_weighs_by_how_often_the_peak_was_there():
    bucket, volume = [100, 110], [20.0, 20.0]
    plain = {peak.price: peak.confidence for peak in detect_combined_peaks(bucket, volume)}
    earlier = detect_combined_peaks([111], [20.0])
    weighted = detect_combined_peaks(bucket, volume, history=[earlier, [], earlier])
    # 110: two of three earlier profiles had a peak within two buckets, (1 + 2) / (1 + 3); 100: none, 1 / 4.
    assert [peak.price for peak in weighted] == [110, 100]
    assert [peak.confidence for peak in weighted] == [0.75 * plain[110], 0.25 * plain[100]]
    assert detect_combined_peaks(bucket, volume, history=[]) == detect_combined_peaks(bucket, volume)


@given(PROFILES, st.integers(-20, 20), st.integers(-(10**9), 10**9))
def test_another_unit_of_volume_or_another_price_level_changes_nothing_else(profile, power, shift):
    bucket, volume = profile
    factor = 2.0**power
    statistical = {"min_peak_volume": 1.0, "z_score_threshold": 0.5, "min_peak_confidence": 0.1}
    by_volume = {"min_relative_volume": 1.5, "min_absolute_volume": 2.0}
    peaks = detect_combined_peaks(bucket, volume, statistical_params=statistical, volume_params=by_volume)
    scaled = detect_combined_peaks(
        bucket + shift,
        volume * factor,
        statistical_params=statistical | {"min_peak_volume": factor},
        volume_params=by_volume | {"min_absolute_volume": 2.0 * factor},
    )
    # To the bit: powers of two scale floats exactly, and nothing depends on where the profile begins.
    assert scaled == [
        WavePeak(
            peak.price + shift,
            peak.volume * factor,
            peak.z_score,
            peak.confidence,
            peak.distance_sigma,
            peak.prominence * factor,
            peak.width,
            peak.method,
        )
        for peak in peaks
    ]


@given(PROFILES)
def test_empty_buckets_written_out_or_left_out_are_the_same(profile):
    bucket, volume = profile
    dense = written_out(bucket, volume)
    parameters = {"z_score_threshold": 0.0, "min_peak_volume": 0.0, "min_peak_confidence": 0.0}
    sparse = detect_normal_distribution_peaks(bucket, volume, **parameters)
    full = detect_normal_distribution_peaks(np.arange(dense.size) + bucket[0], dense, **parameters)
    assert [(p.price, p.prominence, p.width) for p in sparse] == [(p.price, p.prominence, p.width) for p in full]
    assert [p.z_score for p in sparse] == pytest.approx([p.z_score for p in full], abs=1e-9)


def test_a_huge_gap_costs_nothing():
    # Mean 0 to 1e-13, so z is v / sqrt(Σ v² / n), with n = 1e15 + 1.
    peaks = detect_normal_distribution_peaks([0, 10**15], [30.0, 40.0])
    assert [(peak.price, peak.prominence, peak.width) for peak in peaks] == [(10**15, 40.0, 1.0), (0, 30.0, 1.0)]
    assert peaks[0].z_score == pytest.approx(40 / np.sqrt(2500 / (10**15 + 1)), rel=1e-9)


@pytest.mark.parametrize(
    ("bucket", "volume", "message"),
    [
        ([2, 1], [1, 1], "ascend"),
        ([1, 1], [1, 1], "ascend"),
        ([1.0, 2.0], [1, 1], "integers in bucket units"),
        ([1, 2], [1], "one length"),
        ([1], [-1.0], "not negative"),
        ([1], [np.nan], "finite"),
        ([1], [np.inf], "finite"),
    ],
)
@pytest.mark.parametrize("detector", [detect_combined_peaks, detect_volume_peaks, detect_normal_distribution_peaks])
def test_bad_profiles_are_refused_with_one_clear_line(detector, bucket, volume, message):
    with pytest.raises(ValueError, match=message):
        detector(bucket, volume)


def test_an_unknown_parameter_is_named():
    with pytest.raises(TypeError, match="min_volume"):
        detect_combined_peaks([1], [1.0], volume_params={"min_volume": 1})


def test_an_empty_profile_has_no_peaks():
    assert detect_combined_peaks([], []) == []
    assert detect_volume_peaks([1, 2], [0.0, 0.0]) == []


@given(PROFILES)
def test_interpreted_and_compiled_steps_agree(profile):
    bucket, volume = profile
    everything = (bucket, volume, 1.0, 0.2, 0.1, 1.2, 1.0, 2)
    for one, other in zip(detect(*everything), detect.py_func(*everything), strict=True):
        np.testing.assert_array_equal(one, other)
    if volume.max() <= 0:
        return
    assert moments(bucket, volume) == moments.py_func(bucket, volume)
    first, last, _ = local_maxima(bucket, volume)
    between = lowest_between(bucket, volume, first, last)
    np.testing.assert_array_equal(between, lowest_between.py_func(bucket, volume, first, last))
    for step in (1, -1):
        tops = volume[first]
        np.testing.assert_array_equal(valleys(tops, between, step), valleys.py_func(tops, between, step))
        top = int(np.argmax(volume))
        height = float(volume[top]) / 2
        assert half_width(bucket, volume, top, height, step) == half_width.py_func(bucket, volume, top, height, step)
    for one, other in zip(local_maxima(bucket, volume), local_maxima.py_func(bucket, volume), strict=True):
        np.testing.assert_array_equal(one, other)
    scores = np.where(volume > 2, volume / 10, -1.0), np.where(volume % 2 == 0, volume / 10, -1.0)
    for one, other in zip(merge(bucket, volume, *scores, 2), merge.py_func(bucket, volume, *scores, 2), strict=True):
        np.testing.assert_array_equal(one, other)
