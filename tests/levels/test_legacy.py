from datetime import UTC, datetime
from decimal import Decimal

import pytest

from signal_assets.levels.legacy import (
    DepthLevel,
    DepthSnapshot,
    EnhancedMarketAnalyzer,
    MinuteTradeData,
    aggregate_depth_by_one_dollar,
)

LEGACY_FIELDS = {
    *("symbol", "support_levels", "resistance_levels", "poc_levels", "liquidity_vacuum_zones", "resonance_zones")
}
MINUTE = datetime(2025, 4, 14, 0, 1, tzinfo=UTC)


def side(*rows):
    return [DepthLevel(Decimal(price), Decimal(quantity)) for price, quantity in rows]


BOOK = DepthSnapshot(
    "BTCUSDT",
    MINUTE,
    side(("99.5", "1"), ("98.7", "1"), ("97.31", "40"), ("97.30", "0.00000001"), ("96", "1")),
    side(("100.1", "1"), ("101", "1"), ("102", "1")),
)
TRADES = [MinuteTradeData(MINUTE, {Decimal("97.9"): Decimal("12")}, {Decimal("97.1"): Decimal("3")})]


def test_dollars_are_summed_exactly_as_decimals():
    assert aggregate_depth_by_one_dollar(BOOK.bids) == side(
        ("96", "1"), ("97", "40.00000001"), ("98", "1"), ("99", "1")
    )
    assert aggregate_depth_by_one_dollar([]) == []


def test_the_legacy_result_has_the_legacy_fields():
    found = EnhancedMarketAnalyzer().analyze_market(BOOK, TRADES, "BTCUSDT", enhanced_mode=False)
    assert set(found) == LEGACY_FIELDS
    assert found["support_levels"] == [{"price": Decimal("97.31"), "quantity": Decimal(40), "strength": 1.0}]
    assert found["poc_levels"] == [{"price": Decimal(97), "quantity": Decimal(15), "strength": 1.0}]
    loose = EnhancedMarketAnalyzer(support_resistance_threshold=0.0)
    everything = loose.analyze_market(BOOK, TRADES, "BTCUSDT", enhanced_mode=False)["support_levels"]
    assert len(everything) == 4  # all bids but the dust below 0.01


def test_the_enhanced_result_has_everything_in_decimals():
    found = EnhancedMarketAnalyzer().analyze_market(BOOK, TRADES, "BTCUSDT")
    assert set(found) == LEGACY_FIELDS | {
        *("aggregated_bids", "aggregated_asks", "wave_peaks", "support_zones", "resistance_zones", "quality_metrics")
    }
    assert found["aggregated_bids"] == aggregate_depth_by_one_dollar(BOOK.bids)
    (depth, trades) = sorted(found["wave_peaks"], key=lambda peak: -peak["volume"])
    assert (depth["price"], depth["volume"]) == (Decimal(97), Decimal("40.00000001"))
    assert (trades["price"], trades["volume"]) == (Decimal(97), Decimal(15))
    zones = [(zone["low"], zone["high"], zone["volume"], zone["profile"]) for zone in found["support_zones"]]
    assert zones == [
        (Decimal(97), Decimal(98), Decimal("40.00000001"), "depth"),
        (Decimal(97), Decimal(98), Decimal(15), "trades"),
    ]
    assert found["resonance_zones"][0]["low"] == Decimal(97)
    assert found["quality_metrics"]["volume_preservation"] == 1.0
    assert found["quality_metrics"]["levels_in"] == 8


@pytest.mark.parametrize(
    ("price", "quantity", "message"),
    [
        ("1.000000001", "1", r"levels\[1\].price: more than 8 decimals"),
        ("1", "NaN", r"levels\[1\].quantity: not a plain decimal number"),
        ("1e30", "1", r"levels\[1\].price: beyond int64"),
        ("1", "-1", "quantity is negative"),
    ],
)
def test_what_is_no_level_is_refused_with_its_place(price, quantity, message):
    with pytest.raises(ValueError, match=message):
        aggregate_depth_by_one_dollar(side(("1", "1"), (price, quantity)))
