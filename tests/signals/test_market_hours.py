import pytest

from signal_assets.signals.market_hours import is_weekend, market_session, may_signal, time_of_day
from tests.signals.material import at


@pytest.mark.parametrize(
    ("time", "weekend"),
    [
        ("2025-01-03T23:59:59.999999", False),  # Friday
        ("2025-01-04T00:00:00", False),  # midnight sharp closes the Friday
        ("2025-01-04T00:00:00.000001", True),
        ("2025-01-05T12:00:00", True),
        ("2025-01-06T00:00:00", True),  # and this one the Sunday
        ("2025-01-06T00:00:00.000001", False),
    ],
)
def test_weekends_in_utc(time, weekend):
    assert is_weekend(at(time)) is weekend
    assert may_signal(at(time), "crypto")
    for asset_class in ("forex", "indices", "commodities", "stocks"):
        assert may_signal(at(time), asset_class) is not weekend


@pytest.mark.parametrize(
    ("time", "score", "session", "names"),
    [
        ("2025-01-08T03:00", 0.7, 0.6, "Asia open"),
        ("2025-01-08T07:00", 0.7, 0.6, "Asia open"),  # the full hour closes the hour before
        ("2025-01-08T07:00:01", 0.8, 0.9, "Asia and Europe open"),
        ("2025-01-08T10:30", 0.8, 0.6, "Europe open"),
        ("2025-01-08T14:00", 0.9, 0.9, "Europe and America open"),
        ("2025-01-08T16:30", 0.9, 0.6, "America open"),
        ("2025-01-08T23:30", 0.7, 0.3, "no session open"),
        ("2025-01-04T14:00", 0.65, 0.3, "no session open"),  # a Saturday
    ],
)
def test_times_of_day_and_sessions(time, score, session, names):
    assert time_of_day(at(time)).score == score
    assert market_session(at(time)) == (session, names)
