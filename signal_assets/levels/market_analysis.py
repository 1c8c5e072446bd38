"""The analysis of one moment of one market: a book and the trades before it in, levels and zones out.

Belongs here: putting the parts together. Does not belong here: any part – aggregation (``aggregates``), peaks
(``wave_peaks``), zones (``price_zones``), value area, vacuum, nodes, resonance have a file each – nor the names of the
older system (``legacy``).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from signal_assets.aggregates.aggregation_quality import AggregationQuality, aggregation_quality
from signal_assets.aggregates.dollar_depth import aggregate_depth, checked_bucket_size
from signal_assets.fixed_point import SCALE
from signal_assets.levels.analysis_input import (
    MinuteTrades,
    bid_plus_ask_of,
    checked_book,
    checked_trades,
    coverage_of,
)
from signal_assets.levels.liquidity_vacuum import VacuumZone, find_vacuums
from signal_assets.levels.order_levels import PriceLevel, find_control_levels, find_order_levels
from signal_assets.levels.parameters import LevelParameters
from signal_assets.levels.price_zones import SIDES, SUPPORT, cluster_peaks, count_touches, zone_sides, zone_volumes
from signal_assets.levels.profile import Profile, depth_profile
from signal_assets.levels.resonance import ResonanceZone, find_resonances
from signal_assets.levels.scale_space_peaks import METHOD, scale_space_peaks_of
from signal_assets.levels.value_area import EXPANSIONS, Expansion, ValueArea, find_value_area
from signal_assets.levels.volume_nodes import VolumeNode, find_volume_nodes
from signal_assets.levels.wave_peaks import COMBINED, MERGE_TOLERANCE, WavePeak, peaks_of, weighted_by_history

Integers = NDArray[np.int64]

SYMBOL: Final = re.compile(r"[A-Z]+[A-Z0-9_-]*(\.[A-Z][A-Z0-9]*)?")
DEFAULTS: Final = LevelParameters()


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """One side of the book summed into buckets, ascending: lower edge, quantity (units of 1e-8), number of levels."""

    price: Integers
    quantity: Integers
    level_count: Integers

    def __len__(self) -> int:
        return len(self.price)


class PriceZone(NamedTuple):
    """One zone: edges (the upper one outside) and volume in units of 1e-8.

    Parameters
    ----------
    side : str
        support below the mid price, resistance above.
    strength : float
        Share of its profile's whole volume.
    confidence : float
        That of its best peak.
    touches : int
        Times trading entered it.
    profile : str
        depth or trades: where its peaks were found.
    """

    low: int
    high: int
    side: str
    volume: int
    strength: float
    confidence: float
    touches: int
    profile: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LegacyAnalysis:
    """What the older system reports; prices and quantities in units of 1e-8.

    Parameters
    ----------
    support_levels, resistance_levels : tuple of PriceLevel
        Large bids and asks, from the raw levels; the largest first.
    poc_levels : tuple of PriceLevel
        Point of control of the trades, then buckets with exactly as much volume.
    liquidity_vacuum_zones : tuple of VacuumZone
        Runs of nearly empty buckets inside coverage.
    resonance_zones : tuple of ResonanceZone
        A depth peak and a trade peak at one price, in bucket numbers.
    """

    symbol: str
    support_levels: tuple[PriceLevel, ...]
    resistance_levels: tuple[PriceLevel, ...]
    poc_levels: tuple[PriceLevel, ...]
    liquidity_vacuum_zones: tuple[VacuumZone, ...]
    resonance_zones: tuple[ResonanceZone, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EnhancedAnalysis(LegacyAnalysis):
    """The whole analysis: every legacy field, and what follows.

    Parameters
    ----------
    bucket_size : int
        Width of a bucket, units of 1e-8.
    aggregated_bids, aggregated_asks : Buckets
        The book's sides, summed exactly.
    depth_peaks, trade_peaks : tuple of WavePeak
        Combined peaks of both profiles, the most confident first; their ``price`` is a bucket number. Zones and
        resonance come of these: a single large order, too, is where price may turn.
    depth_accumulations, trade_accumulations : tuple of WavePeak
        Scale-space peaks of both profiles, the most confident first: volume gathered over several buckets.
    support_zones, resistance_zones : tuple of PriceZone
        Zones of both profiles, ascending in price.
    value_areas : mapping
        By expansion, one_row and two_row; empty without trades.
    high_volume_nodes, low_volume_nodes : tuple of VolumeNode
        Of the trade profile, in bucket numbers.
    quality : AggregationQuality
        What the aggregation of both sides kept and gave up.
    """

    bucket_size: int
    aggregated_bids: Buckets
    aggregated_asks: Buckets
    depth_peaks: tuple[WavePeak, ...]
    trade_peaks: tuple[WavePeak, ...]
    depth_accumulations: tuple[WavePeak, ...]
    trade_accumulations: tuple[WavePeak, ...]
    support_zones: tuple[PriceZone, ...]
    resistance_zones: tuple[PriceZone, ...]
    value_areas: Mapping[Expansion, ValueArea]
    high_volume_nodes: tuple[VolumeNode, ...]
    low_volume_nodes: tuple[VolumeNode, ...]
    quality: AggregationQuality

    @property
    def wave_peaks(self) -> tuple[WavePeak, ...]:
        """Peaks and accumulations of both profiles, the most confident first; ``method`` tells them apart."""
        every = (*self.depth_peaks, *self.trade_peaks, *self.depth_accumulations, *self.trade_accumulations)
        return tuple(sorted(every, key=lambda peak: (-peak.confidence, peak.price)))


@overload
def analyze_market(
    snapshot: object,
    trades: object,
    symbol: str,
    enhanced_mode: Literal[True] = True,
    history: Sequence[Sequence[WavePeak]] | None = None,
    *,
    bucket_size: int = SCALE,
    parameters: LevelParameters = DEFAULTS,
) -> EnhancedAnalysis: ...
@overload
def analyze_market(
    snapshot: object,
    trades: object,
    symbol: str,
    enhanced_mode: bool,
    history: Sequence[Sequence[WavePeak]] | None = None,
    *,
    bucket_size: int = SCALE,
    parameters: LevelParameters = DEFAULTS,
) -> LegacyAnalysis: ...
def analyze_market(
    snapshot: object,
    trades: object,
    symbol: str,
    enhanced_mode: bool = True,
    history: Sequence[Sequence[WavePeak]] | None = None,
    *,
    bucket_size: int = SCALE,
    parameters: LevelParameters = DEFAULTS,
) -> LegacyAnalysis:
    """Everything this stage says of one moment, as Python objects.

    Pure: the same input gives the same result, to the bit. The lake's tables are made by the same parts.

    Parameters
    ----------
    snapshot : BookSnapshot, or anything with its names as attributes or keys
        The book, e.g. a row of ``market.depth_snapshots``.
    trades : MinuteTrades, or anything with its names as attributes or keys, or None
        Trades of the look-back by minute and bucket, e.g. rows of ``aggregates.dollar_trades``; all of them count.
    symbol : str
        What the result is called by.
    enhanced_mode : bool
        False gives the legacy fields alone. They are the same in both.
    history : sequence of peak lists, or None
        ``depth_peaks`` of earlier analyses, or those with ``depth_accumulations``: what comes and goes is believed
        less. Each is held against its like; a history without any accumulation says nothing of them.
    bucket_size : int
        Width of a bucket, units of 1e-8: one quote unit by default.
    parameters : LevelParameters
        What counts as a peak and a zone.

    Raises
    ------
    ValueError
        If an input is no book, no trades or no symbol; one line that says what and where.

    Examples
    --------
    >>> from signal_assets.levels import BookSnapshot
    >>> unit = 100_000_000
    >>> bids, asks = np.arange(99, 89, -1) * unit, np.arange(100, 110) * unit
    >>> walls = np.array([1, 1, 1, 60, 1, 1, 1, 1, 1, 1]) * unit
    >>> found = analyze_market(BookSnapshot(bids, walls, asks, walls), None, "BTCUSDT")
    >>> [(zone.low // unit, zone.side) for zone in (*found.support_zones, *found.resistance_zones)]
    [(96, 'support'), (103, 'resistance')]
    """
    if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
        raise ValueError(f"symbol must be like BTCUSDT, not {symbol!r}")
    size = checked_bucket_size(bucket_size)
    book, traded = checked_book(snapshot), checked_trades(trades)
    bids = Buckets(*aggregate_depth(book.bid_price, book.bid_quantity, size))
    asks = Buckets(*aggregate_depth(book.ask_price, book.ask_quantity, size))
    depth = depth_profile(
        np.concatenate((bids.price, asks.price)), np.concatenate((bids.quantity, asks.quantity)), size
    )
    volume = traded.buy_quantity + traded.sell_quantity
    trade = depth_profile(traded.price_bucket, volume, size)
    depth_peaks, trade_peaks = _combined(depth, parameters, history), _combined(trade, parameters, None)
    areas = {expansion: find_value_area(trade, expansion) for expansion in EXPANSIONS if len(trade)}
    coverage = coverage_of(book)
    thresholds = parameters.min_order_volume_threshold, parameters.support_resistance_threshold
    legacy: dict[str, Any] = {
        "symbol": symbol,
        "support_levels": find_order_levels(book.bid_price, book.bid_quantity, *thresholds),
        "resistance_levels": find_order_levels(book.ask_price, book.ask_quantity, *thresholds),
        "poc_levels": _control_levels(trade, areas, size),
        "liquidity_vacuum_zones": find_vacuums(
            (bids.price, bids.quantity), (asks.price, asks.quantity), size, coverage
        ),
        "resonance_zones": find_resonances(depth_peaks, trade_peaks, MERGE_TOLERANCE),
    }
    if not enhanced_mode:
        return LegacyAnalysis(**legacy)
    bid_plus_ask = bid_plus_ask_of(book)
    zones = sorted(
        (
            *_zones("depth", depth, depth_peaks, traded, size, bid_plus_ask, parameters),
            *_zones("trades", trade, trade_peaks, traded, size, bid_plus_ask, parameters),
        ),
        key=lambda zone: (zone.low, zone.high, zone.profile),
    )
    high_nodes, low_nodes = find_volume_nodes(trade)
    return EnhancedAnalysis(
        **legacy,
        bucket_size=size,
        aggregated_bids=bids,
        aggregated_asks=asks,
        depth_peaks=depth_peaks,
        trade_peaks=trade_peaks,
        depth_accumulations=_accumulations(depth, parameters, history),
        trade_accumulations=_accumulations(trade, parameters, None),
        support_zones=tuple(zone for zone in zones if zone.side == SIDES[SUPPORT]),
        resistance_zones=tuple(zone for zone in zones if zone.side != SIDES[SUPPORT]),
        value_areas=areas,
        high_volume_nodes=high_nodes,
        low_volume_nodes=low_nodes,
        quality=aggregation_quality(book.bid_price, book.bid_quantity, size, bids.quantity)
        + aggregation_quality(book.ask_price, book.ask_quantity, size, asks.quantity)
        + AggregationQuality(0, 0, 0, 0, 0, *coverage),
    )


def _combined(
    profile: Profile, parameters: LevelParameters, history: Sequence[Sequence[WavePeak]] | None
) -> tuple[WavePeak, ...]:
    """Combined peaks of one profile."""
    found = peaks_of(
        profile.bucket,
        profile.base_volume,
        COMBINED,
        (parameters.min_peak_volume, parameters.z_score_threshold, parameters.min_peak_confidence),
        (parameters.min_relative_volume, parameters.min_absolute_volume),
    )
    return tuple(weighted_by_history(found, _of_method(history, accumulations=False)))


def _accumulations(
    profile: Profile, parameters: LevelParameters, history: Sequence[Sequence[WavePeak]] | None
) -> tuple[WavePeak, ...]:
    """Scale-space peaks of one profile."""
    rates = parameters.false_discovery_rate, parameters.min_scale_space_confidence
    own = _of_method(history, accumulations=True)
    known = own if any(own) else None
    return tuple(scale_space_peaks_of(profile.bucket, profile.base_volume, *rates, known))


def _of_method(history: Sequence[Sequence[WavePeak]] | None, *, accumulations: bool) -> list[list[WavePeak]]:
    """Of each earlier analysis the peaks, or the accumulations: one does not vouch for the other."""
    return [[peak for peak in peaks if (peak.method == METHOD) == accumulations] for peaks in history or ()]


def _zones(
    name: str,
    profile: Profile,
    peaks: Sequence[WavePeak],
    trades: MinuteTrades,
    size: int,
    bid_plus_ask: int,
    parameters: LevelParameters,
) -> list[PriceZone]:
    if not peaks:
        return []
    ordered = sorted((peak.price, peak.confidence) for peak in peaks)
    bucket = np.array([price for price, _ in ordered], np.int64)
    confidence = np.array([value for _, value in ordered], np.float64)
    zones = cluster_peaks(bucket, confidence, parameters.zone_tolerance_buckets)
    low, high = zones.low * size, (zones.high + 1) * size
    side = zone_sides(low, high, bid_plus_ask)
    volume = zone_volumes(profile, zones)
    touches = count_touches(trades.minute, trades.price_bucket, low, high)
    columns = (low, high, side, volume, volume / profile.total, zones.confidence, touches)
    return [
        PriceZone(first, last, SIDES[code], held, strength, believed, entries, name)
        for first, last, code, held, strength, believed, entries in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def _control_levels(trade: Profile, areas: Mapping[Expansion, ValueArea], size: int) -> tuple[PriceLevel, ...]:
    if not areas:
        return ()
    control = areas[EXPANSIONS[0]].point_of_control
    return find_control_levels(trade.bucket * size, trade.volume, control * size)
