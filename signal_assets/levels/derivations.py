"""How peaks, zones, value areas and what became of zones follow from the aggregates, on the minute grid."""

from collections.abc import Mapping
from typing import Final

from resources.settings import Settings
from signal_assets.aggregates.tables import DOLLAR_DEPTH, DOLLAR_TRADES
from signal_assets.derivation import Derivation, Input
from signal_assets.event_time import HOUR, MINUTE
from signal_assets.levels.level_outcomes import OutcomeParameters
from signal_assets.levels.outcome_rows import level_outcome_rows
from signal_assets.levels.parameters import LevelParameters
from signal_assets.levels.tables import LEVEL_OUTCOMES, PRICE_ZONES, VALUE_AREA, WAVE_PEAKS
from signal_assets.levels.window_kernels import price_zone_rows, value_area_rows, wave_peak_rows
from signal_assets.market.tables import FEATURES

BEST_PRICES: Final = Input(FEATURES, MINUTE, ("instrument", "time", "best_bid", "best_ask"))
"""Tells whether the feed lived in the minute before a grid point, and where the market stood."""

ZONE_COLUMNS: Final = ("instrument", "time", "profile", "low", "high", "side", "confidence")


def level_parameters(settings: Settings) -> dict[str, LevelParameters]:
    """Parameters of each instrument, its own overrides applied; volumes in base units, look-back in microseconds."""
    parameters = {}
    for key in settings.instruments_by_key:
        levels = settings.levels_of(key)
        parameters[key] = LevelParameters(
            look_back=levels.profile_look_back_hours * HOUR,
            min_peak_volume=levels.min_peak_volume,
            z_score_threshold=levels.z_score_threshold,
            min_peak_confidence=levels.min_peak_confidence,
            min_relative_volume=levels.min_relative_volume,
            min_absolute_volume=levels.min_absolute_volume,
            false_discovery_rate=levels.false_discovery_rate,
            min_scale_space_confidence=levels.min_scale_space_confidence,
            zone_tolerance_buckets=levels.zone_tolerance_buckets,
        )
    return parameters


def _longest(parameters: Mapping[str, LevelParameters]) -> int:
    return max(item.look_back for item in parameters.values())


def wave_peaks(settings: Settings) -> Derivation:
    """Peaks of the trade and depth profiles."""
    parameters = level_parameters(settings)
    return Derivation(
        table=WAVE_PEAKS,
        inputs=(Input(DOLLAR_TRADES, _longest(parameters)), Input(DOLLAR_DEPTH), BEST_PRICES),
        kernel=lambda window, instruments, inputs: wave_peak_rows(
            window,
            instruments,
            inputs[DOLLAR_TRADES.name],
            inputs[DOLLAR_DEPTH.name],
            inputs[FEATURES.name],
            parameters,
        ),
        grid=MINUTE,
    )


def price_zones(settings: Settings) -> Derivation:
    """Combined peaks clustered to support and resistance."""
    parameters = level_parameters(settings)
    return Derivation(
        table=PRICE_ZONES,
        inputs=(
            Input(WAVE_PEAKS),
            Input(DOLLAR_TRADES, _longest(parameters)),
            Input(DOLLAR_DEPTH),
            BEST_PRICES,
        ),
        kernel=lambda window, instruments, inputs: price_zone_rows(
            window,
            instruments,
            inputs[WAVE_PEAKS.name],
            inputs[DOLLAR_TRADES.name],
            inputs[DOLLAR_DEPTH.name],
            inputs[FEATURES.name],
            parameters,
        ),
        grid=MINUTE,
    )


def value_area(settings: Settings) -> Derivation:
    """Point of control and value area of the trade profile."""
    parameters = level_parameters(settings)
    return Derivation(
        table=VALUE_AREA,
        inputs=(Input(DOLLAR_TRADES, _longest(parameters)), BEST_PRICES),
        kernel=lambda window, instruments, inputs: value_area_rows(
            window, instruments, inputs[DOLLAR_TRADES.name], inputs[FEATURES.name], parameters
        ),
        grid=MINUTE,
    )


def level_outcomes(settings: Settings) -> Derivation:
    """What became of zones, and of random levels beside them."""
    del settings
    parameters = OutcomeParameters()
    return Derivation(
        table=LEVEL_OUTCOMES,
        inputs=(
            Input(PRICE_ZONES, parameters.horizon, ZONE_COLUMNS),
            Input(FEATURES, parameters.look_back, BEST_PRICES.columns),
        ),
        kernel=lambda window, instruments, inputs: level_outcome_rows(
            window, instruments, inputs[PRICE_ZONES.name], inputs[FEATURES.name], parameters
        ),
        grid=MINUTE,
    )
