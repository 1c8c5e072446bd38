"""Checks of the raw market tables: sequence, crossed book, complete days."""

from dagster import AssetChecksDefinition, AssetCheckSeverity

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.derivation import watermark_of
from signal_assets.event_time import MILLISECOND, iso
from signal_assets.market.tables import FEATURES, FEED_GAPS, TRADES
from signal_assets.table_checks import Finding, table_check
from signal_assets.window import Window


def market_checks() -> list[AssetChecksDefinition]:
    """All checks of the stage beyond the schema."""
    return [
        table_check(TRADES, "sequence", "Trade ids are contiguous but for recorded trade gaps.", unbroken_sequence),
        table_check(FEATURES, "crossed_book", "The best bid is below the best ask in every row.", uncrossed_book),
        table_check(
            FEATURES,
            "day_complete",
            "The watermark has passed the day's end, and every grid point has a row or lies in a recorded gap.",
            complete_day,
            severity=AssetCheckSeverity.WARN,
        ),
    ]


def unbroken_sequence(lake: Lake, settings: Settings, window: Window) -> Finding:
    """Count missing trade ids of the day that no recorded gap explains."""
    del settings
    trades = lake.read(TRADES, start=window.start, end=window.end, columns=["instrument", "trade_id", "event_time"])
    lake.ensure([FEED_GAPS])
    gaps = lake.read(FEED_GAPS, start=window.start)
    gaps = gaps[gaps["feed"] == "trades"]
    missing = 0
    for instrument, rows in trades.groupby("instrument"):
        ordered = rows.sort_values("trade_id")
        holes = ordered["trade_id"].diff().fillna(1).to_numpy() - 1
        recorded = gaps[gaps["instrument"] == instrument]
        times = ordered["event_time"].to_numpy()
        for position in holes.nonzero()[0]:
            low, high = times[position - 1], times[position]
            explained = bool(((recorded["gap_start"] <= high) & (recorded["gap_end"] >= low)).any())
            missing += 0 if explained else int(holes[position])
    return Finding(
        missing == 0,
        f"{missing} trades are missing without a recorded gap" if missing else f"{len(trades)} trades, none missing",
        {"trades": len(trades), "missing": missing, "trade_gaps": len(gaps)},
    )


def uncrossed_book(lake: Lake, settings: Settings, window: Window) -> Finding:
    """Count features rows whose best bid is not below their best ask."""
    del settings
    rows = lake.read(
        FEATURES, start=window.start, end=window.end, columns=["instrument", "time", "best_bid", "best_ask"]
    )
    crossed = rows[rows["best_bid"] >= rows["best_ask"]]
    line = f"{len(rows)} rows, none crossed"
    if len(crossed):
        first = crossed.iloc[0]
        line = f"{len(crossed)} crossed rows, first {first['instrument']} at {iso(int(first['time']))}"
    return Finding(crossed.empty, line, {"rows": len(rows), "crossed": len(crossed)})


def complete_day(lake: Lake, settings: Settings, window: Window) -> Finding:
    """Tell a closed day from one that live windows have only begun, and count grid points without row or gap."""
    open_groups = [
        group for group in settings.groups if (mark := watermark_of(lake, group)) is None or mark < window.end
    ]
    if open_groups:
        return Finding(False, f"the watermark of {', '.join(open_groups)} has not passed the day's end")
    lake.ensure([FEED_GAPS])
    step = settings.grid_milliseconds * MILLISECOND
    rows = lake.read(FEATURES, start=window.start, end=window.end, columns=["instrument", "time"])
    gaps = lake.read(FEED_GAPS, start=window.start)
    gaps = gaps[gaps["feed"] == "depth"]
    unexplained = 0
    for instrument, present in rows.groupby("instrument"):
        times = present["time"].to_numpy()
        absent = (times[-1] - times[0]) // step + 1 - len(times)
        of_instrument = gaps[gaps["instrument"] == instrument]
        for start, end in zip(of_instrument["gap_start"], of_instrument["gap_end"], strict=True):
            low, high = max(int(start), int(times[0])), min(int(end), int(times[-1]))
            inside = int(((times > low) & (times < high)).sum())
            absent -= max((high - 1) // step - low // step - inside, 0)
        unexplained += max(int(absent), 0)
    return Finding(
        unexplained == 0,
        f"{len(rows)} grid points, {unexplained} missing without a recorded gap",
        {"grid_points": len(rows), "unexplained": unexplained, "depth_gaps": len(gaps)},
    )
