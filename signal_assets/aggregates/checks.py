"""Checks of the dollar aggregates: Σ out = Σ in, to the last 1e-8."""

from dagster import AssetChecksDefinition

from resources.lake import Lake
from resources.settings import Settings
from signal_assets.aggregates.aggregation_quality import NOTHING, depth_quality
from signal_assets.aggregates.tables import DOLLAR_DEPTH, DOLLAR_TRADES
from signal_assets.fixed_point import format_fixed
from signal_assets.market.tables import DEPTH_SNAPSHOTS, TRADES
from signal_assets.table_checks import Finding, table_check
from signal_assets.window import Window


def aggregate_checks() -> list[AssetChecksDefinition]:
    """All checks of the stage beyond the schema."""
    return [
        table_check(DOLLAR_DEPTH, "conservation", "Σ quantity out = Σ quantity in, exactly.", depth_is_conserved),
        table_check(DOLLAR_TRADES, "conservation", "Σ quantity out = Σ quantity in, exactly.", trades_are_conserved),
    ]


def depth_is_conserved(lake: Lake, settings: Settings, window: Window) -> Finding:
    """Compare the day's snapshots with the day's buckets."""
    lake.ensure([DEPTH_SNAPSHOTS])
    snapshots = lake.read(DEPTH_SNAPSHOTS, start=window.start, end=window.end)
    buckets = lake.read(DOLLAR_DEPTH, start=window.start, end=window.end)
    qualities = depth_quality(list(settings.instruments_by_key.values()), snapshots, buckets)
    lost = [key for key, quality in qualities.items() if not quality.volume_is_preserved]
    total = sum(qualities.values(), start=NOTHING)
    return Finding(
        not lost,
        f"volume differs for {', '.join(lost)}" if lost else f"{len(snapshots)} snapshots conserved exactly",
        {
            "levels_in": total.levels_in,
            "buckets_out": total.buckets_out,
            "compression_ratio": round(total.compression_ratio, 3),
            "volume_preservation": total.volume_preservation,
        }
        | {f"price_accuracy_loss {key}": round(item.price_accuracy_loss, 8) for key, item in qualities.items()}
        | {f"coverage {key}": round(item.coverage, 8) for key, item in qualities.items()},
    )


def trades_are_conserved(lake: Lake, settings: Settings, window: Window) -> Finding:
    """Compare the day's trades with the day's buckets, per instrument and side."""
    del settings
    lake.ensure([TRADES])
    trades = lake.read(
        TRADES,
        start=window.start,
        end=window.end,
        columns=["instrument", "event_time", "quantity", "is_buyer_maker"],
    )
    buckets = lake.read(DOLLAR_TRADES, start=window.start, end=window.end)
    lost = []
    for instrument in sorted({*trades["instrument"], *buckets["instrument"]}):
        mine = trades[trades["instrument"] == instrument]
        out = buckets[buckets["instrument"] == instrument]
        sold = mine["is_buyer_maker"].to_numpy(dtype=bool)
        # Python integers: the sum of a day may leave int64 long before a single row does.
        bought = sum(mine["quantity"].to_numpy()[~sold].tolist()) - sum(out["buy_quantity"].tolist())
        given = sum(mine["quantity"].to_numpy()[sold].tolist()) - sum(out["sell_quantity"].tolist())
        count = len(mine) - int(out["trade_count"].sum())
        if bought or given or count:
            lost.append(f"{instrument} lost {format_fixed(bought)} bought, {format_fixed(given)} sold, {count} trades")
    return Finding(
        not lost,
        "; ".join(lost) if lost else f"{len(trades)} trades conserved exactly",
        {"trades": len(trades), "buckets": len(buckets)},
    )
