"""Schemas of the levels tables; every row belongs to a point of the minute grid."""

from typing import Final

from signal_assets.market.tables import INSTRUMENT
from signal_assets.table import Column, ColumnType, Table

MINUTE: Final = Column("time", ColumnType.TIME, "Point of the minute grid at which the profile was read", "µs UTC")
PROFILE: Final = Column("profile", ColumnType.TEXT, "trades (last 48 h) or depth (the book at that minute)")

WAVE_PEAKS: Final = Table(
    name="levels.wave_peaks",
    description="Peaks of the price-volume profile, by statistical, volume, combined and scale-space detection.",
    columns=(
        INSTRUMENT,
        MINUTE,
        PROFILE,
        Column("method", ColumnType.TEXT, "statistical, volume, combined or scale_space"),
        Column("price", ColumnType.PRICE, "Lower edge of the peak's bucket", "quote currency"),
        Column("volume", ColumnType.QUANTITY, "Volume in that bucket", "base currency"),
        Column(
            "z_score",
            ColumnType.REAL,
            "(volume - mean) / standard deviation over the profile's buckets; of scale_space over its sides and noise",
            "σ",
        ),
        Column("confidence", ColumnType.REAL, "How far to believe in it; of scale_space a probability", "0…1"),
        Column("distance_sigma", ColumnType.REAL, "(price - volume-weighted mean price) / σ of price", "σ"),
        Column(
            "prominence",
            ColumnType.REAL,
            "Height above the higher of the two surrounding valleys; of scale_space above its sides",
            "base",
        ),
        Column(
            "width", ColumnType.REAL, "Width at half the prominence; of scale_space the width that fits best", "buckets"
        ),
    ),
    key=("instrument", "time", "profile", "method", "price"),
    kind="window",
    time="time",
)

PRICE_ZONES: Final = Table(
    name="levels.price_zones",
    description="Adjacent combined peaks of one profile clustered to support and resistance zones.",
    columns=(
        INSTRUMENT,
        MINUTE,
        PROFILE,
        Column("low", ColumnType.PRICE, "Lower edge of the zone's lowest bucket", "quote currency"),
        Column("high", ColumnType.PRICE, "Upper edge of the zone's highest bucket", "quote currency"),
        Column("side", ColumnType.TEXT, "support below the reference price, resistance above"),
        Column("volume", ColumnType.QUANTITY, "Volume of all buckets in the zone", "base currency"),
        Column("strength", ColumnType.REAL, "The zone's share of the profile's whole volume", "0…1"),
        Column("confidence", ColumnType.REAL, "Highest confidence among its peaks", "0…1"),
        Column("touches", ColumnType.COUNT, "Times trading entered the zone within the look-back"),
    ),
    key=("instrument", "time", "profile", "low"),
    kind="window",
    time="time",
)

VALUE_AREA: Final = Table(
    name="levels.value_area",
    description="Point of control and the 70 % value area of the trade profile, by both CBOT expansions.",
    columns=(
        INSTRUMENT,
        MINUTE,
        Column("expansion", ColumnType.TEXT, "one_row or two_row"),
        Column("point_of_control", ColumnType.PRICE, "Bucket with the most volume", "quote currency"),
        Column("value_area_low", ColumnType.PRICE, "Lower edge of the value area", "quote currency"),
        Column("value_area_high", ColumnType.PRICE, "Lower edge of its highest bucket", "quote currency"),
        Column("volume", ColumnType.QUANTITY, "Volume inside the value area", "base currency"),
        Column("total_volume", ColumnType.QUANTITY, "Volume of the whole profile", "base currency"),
    ),
    key=("instrument", "time", "expansion"),
    kind="window",
    time="time",
)

LEVEL_OUTCOMES: Final = Table(
    name="levels.level_outcomes",
    description="What became of zones: touched, bounced or broke, beside random levels of the same distance and side.",
    columns=(
        INSTRUMENT,
        Column("time", ColumnType.TIME, "Point of the minute grid by which the outcome was settled", "µs UTC"),
        Column("level_time", ColumnType.TIME, "When the level stood", "µs UTC"),
        PROFILE,
        Column(
            "zone_low", ColumnType.PRICE, "Lower edge of the zone, or of the zone it was drawn for", "quote currency"
        ),
        Column("draw", ColumnType.COUNT, "0: the zone itself; from 1 on: random levels drawn for it"),
        Column("side", ColumnType.TEXT, "support or resistance"),
        Column("low", ColumnType.PRICE, "Lower edge of the level", "quote currency"),
        Column("high", ColumnType.PRICE, "Upper edge of the level", "quote currency"),
        Column("confidence", ColumnType.REAL, "Confidence of the zone", "0…1"),
        Column("average_range", ColumnType.PRICE, "Mean true range of the minutes before the moment", "quote currency"),
        Column("distance", ColumnType.REAL, "From the mid price to the level's near edge", "average ranges"),
        Column("outcome", ColumnType.TEXT, "bounced, broke, undecided, untouched or unseen"),
        Column("seconds_to_touch", ColumnType.REAL, "From the moment to the first touch; NaN without one", "s"),
        Column("seconds_to_outcome", ColumnType.REAL, "From the moment to what settled it", "s"),
    ),
    key=("instrument", "time", "level_time", "profile", "zone_low", "draw"),
    kind="resolved",
    time="time",
)

TABLES: Final = (WAVE_PEAKS, PRICE_ZONES, VALUE_AREA, LEVEL_OUTCOMES)
