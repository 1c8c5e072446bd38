"""The market analysis under the names of the older system, with Decimals in and out.

Belongs here: names, and turning Decimals into units of 1e-8 and back. Does not belong here: anything that is computed
(``market_analysis``).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np

from signal_assets.aggregates.aggregation_quality import AggregationQuality
from signal_assets.aggregates.dollar_depth import aggregate_depth
from signal_assets.event_time import from_datetime
from signal_assets.fixed_point import SCALE, FixedPointError, format_fixed, parse_fixed
from signal_assets.levels.analysis_input import BookSnapshot, MinuteTrades
from signal_assets.levels.liquidity_vacuum import VacuumZone
from signal_assets.levels.market_analysis import (
    Buckets,
    EnhancedAnalysis,
    LegacyAnalysis,
    PriceZone,
    analyze_market,
)
from signal_assets.levels.order_levels import PriceLevel
from signal_assets.levels.parameters import LevelParameters
from signal_assets.levels.resonance import ResonanceZone
from signal_assets.levels.wave_peaks import WavePeak

ONE_DOLLAR: Final = SCALE


@dataclass(frozen=True, slots=True)
class DepthLevel:
    """A price and what rests there."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class DepthSnapshot:
    """A book: levels in any order."""

    symbol: str
    timestamp: datetime
    bids: Sequence[DepthLevel]
    asks: Sequence[DepthLevel]


@dataclass(frozen=True, slots=True)
class MinuteTradeData:
    """A minute's trades: what takers bought and sold, by price; ``timestamp`` is the minute's close."""

    timestamp: datetime
    buy_volume: Mapping[Decimal, Decimal] = field(default_factory=dict)
    sell_volume: Mapping[Decimal, Decimal] = field(default_factory=dict)


def aggregate_depth_by_one_dollar(levels: Iterable[DepthLevel]) -> list[DepthLevel]:
    """Levels summed into whole dollars, ascending, exactly.

    Raises
    ------
    ValueError
        If a number has more than eight decimals, is no number, or leaves int64 units of 1e-8.

    Examples
    --------
    >>> rows = [DepthLevel(Decimal("100.70"), Decimal("0.1")), DepthLevel(Decimal("100.20"), Decimal("0.2"))]
    >>> aggregate_depth_by_one_dollar(rows)
    [DepthLevel(price=Decimal('100.00000000'), quantity=Decimal('0.30000000'))]
    """
    price, quantity = _levels(levels, "levels")
    bucket, total, _ = aggregate_depth(price, quantity, ONE_DOLLAR)
    return [
        DepthLevel(_decimal(edge), _decimal(sum_)) for edge, sum_ in zip(bucket.tolist(), total.tolist(), strict=True)
    ]


class EnhancedMarketAnalyzer:
    """Market analysis in one-dollar buckets.

    Parameters
    ----------
    min_order_volume_threshold, support_resistance_threshold : float
        See ``LevelParameters``.
    parameters : LevelParameters or None
        Everything else that can be set.

    Examples
    --------
    >>> from datetime import UTC
    >>> side = lambda *rows: [DepthLevel(Decimal(price), Decimal(quantity)) for price, quantity in rows]
    >>> book = DepthSnapshot(
    ...     "BTCUSDT", datetime(2025, 4, 14, tzinfo=UTC), side(("99.5", "2"), ("98", "0.001")), side(("101", "3"))
    ... )
    >>> found = EnhancedMarketAnalyzer().analyze_market(book, [], "BTCUSDT", enhanced_mode=False)
    >>> found["support_levels"]
    [{'price': Decimal('99.50000000'), 'quantity': Decimal('2.00000000'), 'strength': 1.0}]
    """

    def __init__(
        self,
        min_order_volume_threshold: float = 0.01,
        support_resistance_threshold: float = 0.1,
        parameters: LevelParameters | None = None,
    ) -> None:
        self._parameters = replace(
            parameters or LevelParameters(),
            min_order_volume_threshold=min_order_volume_threshold,
            support_resistance_threshold=support_resistance_threshold,
        )

    def analyze_market(
        self,
        snapshot: DepthSnapshot,
        trades: Iterable[MinuteTradeData],
        symbol: str,
        enhanced_mode: bool = True,
        history: Sequence[Sequence[WavePeak]] | None = None,
    ) -> dict[str, Any]:
        """The analysis as a dictionary of Decimals, texts and ratios; the fields are those of ``LegacyAnalysis``.

        In enhanced mode also ``aggregated_bids``, ``aggregated_asks``, ``wave_peaks``, ``support_zones``,
        ``resistance_zones`` and ``quality_metrics``.
        """
        bids, asks = _levels(snapshot.bids, "bids"), _levels(snapshot.asks, "asks")
        found = analyze_market(
            BookSnapshot(*bids, *asks), _minutes(trades), symbol, enhanced_mode, history, parameters=self._parameters
        )
        return _enhanced(found) if isinstance(found, EnhancedAnalysis) else _legacy(found)


def _legacy(found: LegacyAnalysis) -> dict[str, Any]:
    return {
        "symbol": found.symbol,
        "support_levels": [_level(level) for level in found.support_levels],
        "resistance_levels": [_level(level) for level in found.resistance_levels],
        "poc_levels": [_level(level) for level in found.poc_levels],
        "liquidity_vacuum_zones": [_vacuum(zone) for zone in found.liquidity_vacuum_zones],
        "resonance_zones": [_resonance(zone) for zone in found.resonance_zones],
    }


def _enhanced(found: EnhancedAnalysis) -> dict[str, Any]:
    return _legacy(found) | {
        "aggregated_bids": _buckets(found.aggregated_bids),
        "aggregated_asks": _buckets(found.aggregated_asks),
        "wave_peaks": [_peak(peak) for peak in found.wave_peaks],
        "support_zones": [_zone(zone) for zone in found.support_zones],
        "resistance_zones": [_zone(zone) for zone in found.resistance_zones],
        "quality_metrics": _quality(found.quality),
    }


def _level(level: PriceLevel) -> dict[str, Any]:
    return {"price": _decimal(level.price), "quantity": _decimal(level.quantity), "strength": level.strength}


def _vacuum(zone: VacuumZone) -> dict[str, Any]:
    return {
        "low": _decimal(zone.low),
        "high": _decimal(zone.high),
        "quantity": _decimal(zone.quantity),
        "side": zone.side,
    }


def _resonance(zone: ResonanceZone) -> dict[str, Any]:
    return {
        "low": _decimal(zone.low * ONE_DOLLAR),
        "high": _decimal(zone.high * ONE_DOLLAR),
        "depth_volume": _volume(zone.depth_volume),
        "trade_volume": _volume(zone.trade_volume),
        "confidence": zone.confidence,
    }


def _buckets(buckets: Buckets) -> list[DepthLevel]:
    columns = buckets.price.tolist(), buckets.quantity.tolist()
    return [DepthLevel(_decimal(price), _decimal(quantity)) for price, quantity in zip(*columns, strict=True)]


def _peak(peak: WavePeak) -> dict[str, Any]:
    return {
        "price": _decimal(peak.price * ONE_DOLLAR),
        "volume": _volume(peak.volume),
        "z_score": peak.z_score,
        "confidence": peak.confidence,
        "distance_sigma": peak.distance_sigma,
        "prominence": _volume(peak.prominence),
        "width": peak.width,
        "method": peak.method,
    }


def _zone(zone: PriceZone) -> dict[str, Any]:
    return {
        "low": _decimal(zone.low),
        "high": _decimal(zone.high),
        "volume": _decimal(zone.volume),
        "strength": zone.strength,
        "confidence": zone.confidence,
        "touches": zone.touches,
        "profile": zone.profile,
    }


def _quality(quality: AggregationQuality) -> dict[str, Any]:
    return {
        "levels_in": quality.levels_in,
        "buckets_out": quality.buckets_out,
        "compression_ratio": quality.compression_ratio,
        "volume_preservation": quality.volume_preservation,
        "price_accuracy_loss": quality.price_accuracy_loss,
        "coverage": quality.coverage,
    }


def _levels(levels: Iterable[DepthLevel], name: str) -> tuple[Any, Any]:
    rows = list(levels)
    price = [_units(level.price, f"{name}[{i}].price") for i, level in enumerate(rows)]
    quantity = [_units(level.quantity, f"{name}[{i}].quantity") for i, level in enumerate(rows)]
    return np.array(price, np.int64), np.array(quantity, np.int64)


def _minutes(trades: Iterable[MinuteTradeData]) -> MinuteTrades:
    rows: list[tuple[int, int, int, int]] = []
    for i, minute in enumerate(trades):
        close = from_datetime(minute.timestamp)
        for name, volumes in (("buy_volume", minute.buy_volume), ("sell_volume", minute.sell_volume)):
            for price, volume in volumes.items():
                edge = _units(price, f"trades[{i}].{name}") // ONE_DOLLAR * ONE_DOLLAR
                amount = _units(volume, f"trades[{i}].{name}[{price}]")
                rows.append((close, edge, amount, 0) if name == "buy_volume" else (close, edge, 0, amount))
    return MinuteTrades(*np.array(rows, np.int64).reshape(-1, 4).T)


def _units(value: Decimal, where: str) -> int:
    """A Decimal in units of 1e-8, exactly."""
    try:
        return parse_fixed(format(Decimal(value), "f"))
    except (FixedPointError, ArithmeticError, TypeError, ValueError) as error:
        raise FixedPointError(f"{where}: {error or 'not a number'}") from error


def _decimal(value: int) -> Decimal:
    return Decimal(format_fixed(value))


def _volume(value: float) -> Decimal:
    """A volume in base units that came of units of 1e-8, as those."""
    return _decimal(round(value * SCALE))
