import math

import pytest

from resources import anomaly_settings
from signal_assets.anomalies.parameters import AnomalyParameters
from signal_assets.anomalies.series import FEATURES_COLUMNS, MARKET_FEATURES, POINT_FEATURES, MarketSeries
from signal_assets.event_time import SECOND
from signal_assets.machine import decode_state, encode_state
from signal_assets.market.tables import FEATURES
from tests.anomalies.features_rows import features_row

PARAMETERS = AnomalyParameters(metrics_interval=10 * SECOND, vpin_intervals=2)


def walked(series, rows):
    """Values at each point, by second; rows at other times are only added."""
    found = {}
    for row in rows:
        second = row.time // SECOND
        series.add(-(-second // 10) * 10 * SECOND, row)
        if second % 10 == 0:
            found[second] = dict(zip(MARKET_FEATURES, series.values(row), strict=True))
    return found


def test_every_value_by_hand():
    # Each second of (100, 110]: 2 trades, 0.3 bought, 0.1 sold, flow -0.5. Book at 110: 60,000 to 60,006, at 100 it was
    # 59,997 to 60,000, so the mid went from 59,998.5 to 60,003.
    start = features_row(100, bid=59_997, spread=3)
    rows = [features_row(second, trades=2, bought=0.3, sold=0.1, flow=-0.5) for second in range(101, 110)]
    last = features_row(110, bid=60_000, spread=6, imbalance=-0.25, trades=2, bought=0.3, sold=0.1, flow=-0.5)
    values = walked(MarketSeries(PARAMETERS), [start, *rows, last])[110]
    assert {name: values[name] for name in POINT_FEATURES} == {
        "return": pytest.approx(math.log(60_003 / 59_998.5), rel=1e-10),
        "volume": 4.0,
        "spread": pytest.approx(6 / 60_003 * 10_000, rel=1e-12),
        "imbalance": -0.25,
        "trade_rate": 2.0,
        "order_flow_imbalance": -5.0,
        "vpin": pytest.approx(math.nan, nan_ok=True),  # one whole interval of two
    }


def test_vpin_by_hand():
    # Intervals: 3 bought 1 sold, 0 and 2, 5 and 5. VPIN of two: (2 + 2) / (4 + 2), then (2 + 0) / (2 + 10).
    series = MarketSeries(PARAMETERS)
    flows = {10: (3, 1), 20: (0, 2), 30: (5, 5)}
    rows = [
        features_row(second, bought=flows.get(second, (0, 0))[0], sold=flows.get(second, (0, 0))[1])
        for second in range(1, 31)
    ]
    found = walked(series, rows)
    assert math.isnan(found[10]["vpin"])
    assert [found[second]["vpin"] for second in (20, 30)] == [4 / 6, 2 / 12]


def test_vpin_of_no_trades_is_not_known():
    found = walked(MarketSeries(PARAMETERS), [features_row(second) for second in range(1, 31)])
    assert all(math.isnan(found[second]["vpin"]) for second in (10, 20, 30))
    assert found[30]["volume"] == 0.0


def test_an_interval_with_a_missing_row_has_no_sums():
    # The row of 14 is missing; the mids of 10, 20 and 30 are known.
    series = MarketSeries(PARAMETERS)
    rows = [features_row(second, trades=1, bought=1.0) for second in range(1, 41) if second != 14]
    found = walked(series, rows)
    known = {
        second: [name for name in POINT_FEATURES if not math.isnan(values[name])] for second, values in found.items()
    }
    assert known == {
        10: ["volume", "spread", "imbalance", "trade_rate", "order_flow_imbalance"],
        20: ["return", "spread", "imbalance"],
        # VPIN's two whole intervals are those that end at 10 and 30.
        30: [*POINT_FEATURES],
        40: [*POINT_FEATURES],
    }


def test_after_a_gap_a_return_waits_for_the_second_point():
    # No rows in (12, 35]: no point at 20 and 30; at 40 the mid of 30 is not known.
    rows = [features_row(second, trades=1) for second in range(1, 61) if not 12 < second <= 35]
    found = walked(MarketSeries(PARAMETERS), rows)
    assert list(found) == [10, 40, 50, 60]
    known = [second for second in found if not math.isnan(found[second]["return"])]
    assert known == [50, 60]
    assert [second for second in found if not math.isnan(found[second]["trade_rate"])] == [10, 50, 60]
    assert all(found[second]["spread"] > 0 for second in found)


def test_the_grid_says_how_many_rows_are_whole():
    # Rows every two seconds of a grid of two seconds: five make ten seconds.
    series = MarketSeries(AnomalyParameters(features_grid=2 * SECOND, metrics_interval=10 * SECOND))
    found = walked(series, [features_row(second, trades=3) for second in range(2, 21, 2)])
    assert [found[second]["trade_rate"] for second in (10, 20)] == [1.5, 1.5]


def test_sums_survive_as_text_and_huge_ones_do_not_overflow():
    rows = [features_row(second, trades=1, bought=9e10, sold=1e10) for second in range(1, 31)]
    whole, cut = MarketSeries(PARAMETERS), MarketSeries(PARAMETERS)
    expected = walked(whole, rows)
    found = walked(cut, rows[:14])
    again = MarketSeries(PARAMETERS)
    again.restore(decode_state(encode_state(cut.state())))
    found |= walked(again, rows[14:])
    assert repr(found) == repr(expected)
    assert again.state() == whole.state()
    assert found[30]["volume"] == 1e12
    assert found[30]["vpin"] == 0.8


def test_what_is_read_is_in_the_features():
    assert set(FEATURES_COLUMNS) <= set(FEATURES.value_columns)


def test_the_settings_know_the_series_by_name():
    assert anomaly_settings.MARKET_FEATURES == MARKET_FEATURES
